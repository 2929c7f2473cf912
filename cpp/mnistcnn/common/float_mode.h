#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace mnistcnn::common {

// Floating-point mode of a thread: the rounding direction, and whether subnormal numbers are replaced by zero, which
// torch.set_flush_denormal changes. The processor keeps it per thread; a new thread inherits it from its creator.
class FloatMode {
 public:
  static FloatMode of_this_thread() { return FloatMode(read() & kMask); }

  // Set the mode of the calling thread.
  void apply() const {
    const Register current = read();
    if ((current & kMask) != mode_) write((current & ~kMask) | mode_);
  }

 private:
#if defined(__x86_64__)
  using Register = std::uint32_t;            // MXCSR
  static constexpr Register kMask = 0xE040;  // flush to zero, rounding, denormals are zero
  static Register read() { return _mm_getcsr(); }
  static void write(Register value) { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Register = std::uint64_t;               // FPCR
  static constexpr Register kMask = 0x1C80000;  // flush to zero (also of half precision), rounding
  static Register read() {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
  using Register = std::uint32_t;
  static constexpr Register kMask = 0;
  static Register read() { return 0; }
  static void write(Register) {}
#endif

  explicit FloatMode(Register mode) : mode_(mode) {}

  Register mode_;
};

}  // namespace mnistcnn::common
