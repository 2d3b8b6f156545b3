/* SPDX-License-Identifier: MIT
 * So that the support library exists even before it has anything to offer. */
typedef int slm_test_support_is_not_empty;
