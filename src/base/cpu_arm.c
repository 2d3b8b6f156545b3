/* SPDX-License-Identifier: MIT
 *
 * AArch64: NEON is part of the architecture; the rest is told by the system (the CPU's own
 * registers are closed to programs). The model's name is not stored in the CPU: implementer and
 * part number are looked up in a table. */
#if defined(__aarch64__)
#include "base/cpu.h"

#include <stddef.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "base/cpu_host.h"

#if defined(__linux__)
/* Bit numbers of AT_HWCAP and AT_HWCAP2: part of the kernel's ABI. */
static const struct row { uint64_t feature; unsigned long type; unsigned bit; } rows[] = {
    {SLM_CPU(NEON), AT_HWCAP, 1},   {SLM_CPU(FP16), AT_HWCAP, 10},  {SLM_CPU(DOTPROD), AT_HWCAP, 20},
    {SLM_CPU(SVE), AT_HWCAP, 22},   {SLM_CPU(I8MM), AT_HWCAP2, 13}, {SLM_CPU(BF16), AT_HWCAP2, 14},
};

uint64_t slm_cpu_detect(void)
{
    uint64_t features = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (getauxval(rows[i].type) >> rows[i].bit & 1) features |= rows[i].feature;
    return features;
}

static const struct part { unsigned implementer, part; const char *name; } parts[] = {
    {0x41, 0xD03, "Arm Cortex-A53"},   {0x41, 0xD05, "Arm Cortex-A55"},   {0x41, 0xD08, "Arm Cortex-A72"},
    {0x41, 0xD0B, "Arm Cortex-A76"},   {0x41, 0xD0C, "Arm Neoverse N1"},  {0x41, 0xD0D, "Arm Cortex-A77"},
    {0x41, 0xD40, "Arm Neoverse V1"},  {0x41, 0xD41, "Arm Cortex-A78"},   {0x41, 0xD44, "Arm Cortex-X1"},
    {0x41, 0xD46, "Arm Cortex-A510"},  {0x41, 0xD47, "Arm Cortex-A710"},  {0x41, 0xD48, "Arm Cortex-X2"},
    {0x41, 0xD49, "Arm Neoverse N2"},  {0x41, 0xD4F, "Arm Neoverse V2"},  {0xC0, 0xAC3, "Ampere-1"},
};

const char *slm_cpu_model(void)
{
    if (!(getauxval(AT_HWCAP) >> 11 & 1)) return "unknown"; /* HWCAP_CPUID: the kernel answers reads of MIDR_EL1 */
    uint64_t midr;
    __asm__("mrs %0, midr_el1" : "=r"(midr));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].implementer == (midr >> 24 & 0xFF) && parts[i].part == (midr >> 4 & 0xFFF)) return parts[i].name;
    return "unknown";
}
#elif defined(__APPLE__)
static const struct row { uint64_t feature; const char *name; } rows[] = {
    {SLM_CPU(FP16), "hw.optional.arm.FEAT_FP16"},
    {SLM_CPU(DOTPROD), "hw.optional.arm.FEAT_DotProd"},
    {SLM_CPU(I8MM), "hw.optional.arm.FEAT_I8MM"},
    {SLM_CPU(BF16), "hw.optional.arm.FEAT_BF16"},
};

uint64_t slm_cpu_detect(void)
{
    uint64_t features = SLM_CPU(NEON);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int value = 0;
        size_t bytes = sizeof value;
        if (sysctlbyname(rows[i].name, &value, &bytes, NULL, 0) == 0 && value) features |= rows[i].feature;
    }
    return features;
}

const char *slm_cpu_model(void)
{
    static char text[128]; /* every writer writes the same */
    size_t bytes = sizeof text - 1;
    return sysctlbyname("machdep.cpu.brand_string", text, &bytes, NULL, 0) == 0 ? text : "unknown";
}
#else
uint64_t slm_cpu_detect(void) { return SLM_CPU(NEON); }
const char *slm_cpu_model(void) { return "unknown"; }
#endif
#else
typedef int slm_cpu_arm_is_not_used; /* ISO C wants something in every file */
#endif
