# SPDX-License-Identifier: MIT
# Cross-build for 64-bit ARM Linux. The compiler and its C library are Debian's cross packages; the other libraries come
# from build/arm64-sysroot (tools/arm64-sysroot.sh); the tests run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

get_filename_component(SLM_ARM64_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/arm64-sysroot" ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${SLM_ARM64_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# pkg-config answers from the sysroot only, so a library of the build machine can never slip in.
set(ENV{PKG_CONFIG_LIBDIR} "${SLM_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${SLM_ARM64_SYSROOT}")

# The system folders count as known to the linker, so the sysroot's must be named to the loader.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath,${SLM_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu")
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;/usr/aarch64-linux-gnu")
