# Find libtorch in the torch package installed by pip. find_package(Torch) is not used, because it requires a CUDA
# toolkit if torch was built with CUDA.
#
#   TORCH_PACKAGE        directory of the package; default: that of TORCH_PYTHON or the found Python
#   TorchWheel_VERSION   version of torch
#   torch::core          target: libtorch_cpu and libc10
#   torch::python        target: torch::core and libtorch_python
if(NOT TORCH_PACKAGE)
  if(NOT TORCH_PYTHON)
    if(Python_EXECUTABLE)
      set(TORCH_PYTHON "${Python_EXECUTABLE}")
    else()
      find_program(TORCH_PYTHON NAMES python3 python REQUIRED)
    endif()
  endif()
  execute_process(
    COMMAND "${TORCH_PYTHON}" "${CMAKE_CURRENT_LIST_DIR}/dependencies.py"
    OUTPUT_VARIABLE TORCH_PACKAGE RESULT_VARIABLE result ERROR_QUIET)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${TORCH_PYTHON} has no torch. Install it (pip install torch==2.13.0), or set TORCH_PACKAGE "
                        "or TORCH_PYTHON.")
  endif()
endif()

file(STRINGS "${TORCH_PACKAGE}/version.py" version_line REGEX "^__version__ = ")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" TorchWheel_VERSION "${version_line}")

# Not cached, so that another TORCH_PYTHON takes effect in an existing build directory.
find_library(TORCH_CPU_LIBRARY torch_cpu PATHS "${TORCH_PACKAGE}/lib" NO_DEFAULT_PATH NO_CACHE)
find_library(TORCH_C10_LIBRARY c10 PATHS "${TORCH_PACKAGE}/lib" NO_DEFAULT_PATH NO_CACHE)
find_library(TORCH_PYTHON_LIBRARY torch_python PATHS "${TORCH_PACKAGE}/lib" NO_DEFAULT_PATH NO_CACHE)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  TorchWheel
  REQUIRED_VARS TORCH_CPU_LIBRARY TORCH_C10_LIBRARY TORCH_PYTHON_LIBRARY
  VERSION_VAR TorchWheel_VERSION)

if(NOT TARGET torch::core)
  foreach(part c10 cpu python)
    string(TOUPPER ${part} upper)
    add_library(torch::${part} SHARED IMPORTED)
    set_target_properties(torch::${part} PROPERTIES IMPORTED_LOCATION "${TORCH_${upper}_LIBRARY}")
  endforeach()
  target_include_directories(torch::c10 SYSTEM INTERFACE "${TORCH_PACKAGE}/include")
  target_link_libraries(torch::cpu INTERFACE torch::c10)
  add_library(torch::core INTERFACE IMPORTED)
  target_link_libraries(torch::core INTERFACE torch::cpu torch::c10)
  target_link_libraries(torch::python INTERFACE torch::core)
endif()
