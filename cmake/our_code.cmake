# Set the compiler options of a target of this project: warnings and sanitizers. Warnings are errors only with
# MNISTCNN_STRICT, because users may have compilers with other warnings.
function(our_code target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
  if(MNISTCNN_STRICT)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 reports false positives of these warnings in std::string and std::vector.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
  if(MNISTCNN_SANITIZE)
    list(JOIN MNISTCNN_SANITIZE "," sanitizers)
    # With sanitizers GCC reports false positives of uninitialised values, so warnings are not errors here.
    # -g1 gives line numbers in reports; -g would make compilation ten times as slow.
    target_compile_options(${target} PRIVATE -fsanitize=${sanitizers} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -g1 -Wno-error)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
