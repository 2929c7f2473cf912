# Warnings are errors in our own code; sanitizers reach all of it.
function(our_code target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)  # GCC 12 sees overlaps in std::string that are none
  endif()
  if(MNISTCNN_SANITIZE)
    list(JOIN MNISTCNN_SANITIZE "," sanitizers)
    target_compile_options(${target} PRIVATE -fsanitize=${sanitizers} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -g)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
