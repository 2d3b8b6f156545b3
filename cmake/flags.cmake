# SPDX-License-Identifier: MIT
# Compiler flags of every target, as the interface library slm_flags: warnings, determinism, hardening, sanitizers.
add_library(slm_flags INTERFACE)
target_compile_definitions(slm_flags INTERFACE _GNU_SOURCE)
target_compile_options(slm_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wformat=2 -Wundef -Wvla -Wno-sign-conversion
  # Integer constants are enumerators here, and long strings in tables are broken over lines.
  $<$<C_COMPILER_ID:Clang>:-Wno-enum-float-conversion>
  $<$<C_COMPILER_ID:Clang>:-Wno-string-concatenation>)
if(SLM_WERROR)
  target_compile_options(slm_flags INTERFACE -Werror)
endif()

# -ffp-contract=off: the same bits on every machine; fma is written where it is meant.
target_compile_options(slm_flags INTERFACE -fno-math-errno -ffp-contract=off -fno-strict-aliasing)

# Hardening: what it catches is a bug, but a bug that then ends the program instead of running someone's code.
include(CheckPIESupported)
check_pie_supported()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_compile_options(slm_flags INTERFACE -fstack-protector-strong -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(slm_flags INTERFACE -fcf-protection)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  target_compile_options(slm_flags INTERFACE -mbranch-protection=standard)
endif()
target_link_options(slm_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)

if(SLM_SANITIZE)
  target_compile_options(slm_flags INTERFACE
    -fsanitize=${SLM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(slm_flags INTERFACE -fsanitize=${SLM_SANITIZE})
else()
  # Sanitizers replace the functions that _FORTIFY_SOURCE wraps. Some compilers predefine it, so it is cleared first.
  target_compile_options(slm_flags INTERFACE -U_FORTIFY_SOURCE $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
endif()
if(SLM_BUILD_FUZZERS)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SLM_BUILD_FUZZERS needs clang (libFuzzer): cmake --preset fuzz")
  endif()
  target_compile_options(slm_flags INTERFACE -fsanitize=fuzzer-no-link) # coverage; each fuzzer links the engine
endif()
