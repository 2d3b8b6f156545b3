# SPDX-License-Identifier: MIT
# llhttp as the target slm_llhttp: the library where the distribution has one, else Debian 12's node-llhttp, which ships
# its C sources. Built in its strict mode, whose grammar is the one of RFC 9112; its warnings are not ours.
pkg_check_modules(LLHTTP IMPORTED_TARGET libllhttp)
set(SLM_LLHTTP_SOURCES /usr/share/llhttp/llhttp.c /usr/share/llhttp/api.c /usr/share/llhttp/http.c)
if(LLHTTP_FOUND)
  add_library(slm_llhttp INTERFACE)
  target_link_libraries(slm_llhttp INTERFACE PkgConfig::LLHTTP)
elseif(EXISTS /usr/share/llhttp/llhttp.c AND EXISTS /usr/share/include/llhttp/llhttp.h)
  add_library(slm_llhttp STATIC ${SLM_LLHTTP_SOURCES})
  target_include_directories(slm_llhttp SYSTEM PUBLIC /usr/share/include/llhttp)
  target_compile_definitions(slm_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(slm_llhttp PRIVATE -w)
endif()
