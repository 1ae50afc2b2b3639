# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
# Flags and the few functions that every folder's CMakeLists.txt is written in.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # GNU C: POSIX and Linux interfaces
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# NDEBUG is never defined: assertions stay on in every build.
foreach(type RELEASE RELWITHDEBINFO DEBUG)
  set(CMAKE_C_FLAGS_${type} "-O2 -g")
endforeach()
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

set(EHIS_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined")
option(EHIS_WERROR "Warnings are errors (on in the preset dev)" OFF)
option(EHIS_FUZZ "Build libFuzzer targets (clang)" OFF)
option(EHIS_COVERAGE "Instrument for coverage" OFF)

add_compile_options(
  -D_GNU_SOURCE -DOPENSSL_API_COMPAT=30000 -DOPENSSL_NO_DEPRECATED
  -Wall -Wextra -Wformat=2 -Wshadow -Wvla -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wdouble-promotion
  -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
  -fno-strict-aliasing -fno-strict-overflow -fno-delete-null-pointer-checks -fno-common -fno-omit-frame-pointer
  -fstack-protector-strong -fvisibility=hidden)
if(EHIS_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # maybe-uninitialized guesses differently in every version of gcc, and wrongly where a result is written only on success.
  add_compile_options(-Wno-maybe-uninitialized -fstack-clash-protection -ftrivial-auto-var-init=zero -Wtrampolines)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64" AND NOT EHIS_SANITIZE)
  add_compile_options(-fcf-protection=full)
endif()
if(EHIS_SANITIZE)
  add_compile_options(-fsanitize=${EHIS_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${EHIS_SANITIZE})
else()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(EHIS_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(EHIS_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1.12 libevent_pthreads)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl>=3.0 libcrypto>=3.0)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0.2)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

# The errors of every part, joined: data beside the code that raises them.
set(EHIS_GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${EHIS_GENERATED})
set(EHIS_ERROR_FILES)
foreach(part base proto pki policy gateway adapters)
  if(EXISTS ${CMAKE_SOURCE_DIR}/${part}/errors.def)
    list(APPEND EHIS_ERROR_FILES ${CMAKE_SOURCE_DIR}/${part}/errors.def)
  endif()
endforeach()
add_custom_command(OUTPUT ${EHIS_GENERATED}/ehis_errors.inc
  COMMAND cat ${EHIS_ERROR_FILES} > ${EHIS_GENERATED}/ehis_errors.inc
  DEPENDS ${EHIS_ERROR_FILES} VERBATIM)
add_custom_target(ehis_errors DEPENDS ${EHIS_GENERATED}/ehis_errors.inc)

# ehis_module(NAME SOURCES a.c b.c [LIBS other modules and vendors]): one folder, one static library.
function(ehis_module name)
  cmake_parse_arguments(M "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${M_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${EHIS_GENERATED})
  target_link_libraries(${name} PUBLIC ${M_LIBS} Threads::Threads)
  add_dependencies(${name} ehis_errors)
endfunction()

# ehis_program(NAME SOURCES ... LIBS ...): a binary in bin/.
function(ehis_program name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${EHIS_GENERATED})
  target_link_libraries(${name} PRIVATE ${P_LIBS} Threads::Threads)
  target_compile_options(${name} PRIVATE -fPIE)
  target_link_options(${name} PRIVATE -pie)
  add_dependencies(${name} ehis_errors)
endfunction()

# ehis_test(NAME SOURCES ... LIBS ...): a cmocka program, run by ctest. Label: its folder under tests/.
function(ehis_test name)
  cmake_parse_arguments(T "" "LABEL" "SOURCES;LIBS" ${ARGN})
  ehis_program(${name} SOURCES ${T_SOURCES} LIBS ${T_LIBS} PkgConfig::CMOCKA)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT T_LABEL)
    set(T_LABEL unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${T_LABEL} TIMEOUT 240
    ENVIRONMENT "EHIS_SOURCE_DIR=${CMAKE_SOURCE_DIR};EHIS_BINARY_DIR=${CMAKE_BINARY_DIR}")
endfunction()

# ehis_fuzz(NAME SOURCES ... LIBS ... SEEDS folder [POSITIONS n]): LLVMFuzzerTestOneInput; its seeds replayed as an ordinary test, cut and
# turned at n positions (512 unless that takes too long), a libFuzzer binary with EHIS_FUZZ.
function(ehis_fuzz name)
  cmake_parse_arguments(F "" "SEEDS;POSITIONS" "SOURCES;LIBS" ${ARGN})
  if(EHIS_FUZZ)
    ehis_program(${name} SOURCES ${F_SOURCES} LIBS ${F_LIBS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    ehis_program(${name} SOURCES ${F_SOURCES} ${CMAKE_SOURCE_DIR}/tests/support/fuzz_replay.c LIBS ${F_LIBS})
    if(F_POSITIONS)
      target_compile_definitions(${name} PRIVATE POSITIONS=${F_POSITIONS})
    endif()
    add_test(NAME ${name} COMMAND ${name} ${F_SEEDS})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 240)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()

enable_testing()
