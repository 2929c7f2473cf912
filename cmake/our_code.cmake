# Our own code compiles without a warning, and warnings are errors where MNISTCNN_STRICT says so: not for users, whose
# compiler may be one that we have never seen. Sanitizers reach all of it.
function(our_code target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
  if(MNISTCNN_STRICT)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overlaps and overruns in std::string and std::vector that are none.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
  if(MNISTCNN_SANITIZE)
    list(JOIN MNISTCNN_SANITIZE "," sanitizers)
    # What sanitizers add makes GCC see values that nothing has set; the plain build stays strict.
    # Names of lines are enough for a report; those of variables (-g) would take the compiler ten times as long.
    target_compile_options(${target} PRIVATE -fsanitize=${sanitizers} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -g1 -Wno-error)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
