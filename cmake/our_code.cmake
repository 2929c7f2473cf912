# Warnings are errors in our own code; sanitizers reach all of it.
function(our_code target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overlaps and overruns in std::string and std::vector that are none.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
  if(MNISTCNN_SANITIZE)
    list(JOIN MNISTCNN_SANITIZE "," sanitizers)
    # What sanitizers add makes GCC see values that nothing has set; the plain build stays strict.
    target_compile_options(${target} PRIVATE -fsanitize=${sanitizers} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -g -Wno-error)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
