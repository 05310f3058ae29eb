/*
 * The process that holds a pod's namespaces open. Without libc, so that it is about a kilobyte and needs nothing.
 *
 * As PID 1 of its namespace it gets only signals that it asked for, so SIGTERM would be ignored; blocking a signal
 * queues it even for PID 1, and sigtimedwait takes it from the queue. No handler, hence no signal trampoline to write
 * for each architecture. With a shared process namespace it is the parent of every orphan and reaps them.
 */
#define SIGINT 2
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_BLOCK 0
#define WNOHANG 1

#if defined(__x86_64__)
#define NR_rt_sigprocmask 14
#define NR_rt_sigtimedwait 128
#define NR_wait4 61
#define NR_exit_group 231
static long syscall4(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
#define NR_rt_sigprocmask 135
#define NR_rt_sigtimedwait 137
#define NR_wait4 260
#define NR_exit_group 94
static long syscall4(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#elif defined(__arm__)
#define NR_rt_sigprocmask 175
#define NR_rt_sigtimedwait 177
#define NR_wait4 114
#define NR_exit_group 248
static long syscall4(long number, long a, long b, long c, long d) {
  register long r7 __asm__("r7") = number;
  register long r0 __asm__("r0") = a;
  register long r1 __asm__("r1") = b;
  register long r2 __asm__("r2") = c;
  register long r3 __asm__("r3") = d;
  __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
  return r0;
}
#else
#error "pause: unknown architecture"
#endif

#define BIT(signal) (1ULL << ((signal) - 1))

void __attribute__((noreturn)) _start(void) {
  /* The kernel's signal set is 64 bits on every architecture here; volatile keeps it on the stack. */
  volatile unsigned long long signals = BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGCHLD);
  syscall4(NR_rt_sigprocmask, SIG_BLOCK, (long)&signals, 0, sizeof(signals));
  for (;;) {
    long signal = syscall4(NR_rt_sigtimedwait, (long)&signals, 0, 0, sizeof(signals));
    if (signal == SIGTERM || signal == SIGINT) {
      for (;;) syscall4(NR_exit_group, 0, 0, 0, 0);
    }
    /* One SIGCHLD may stand for several children. */
    if (signal == SIGCHLD) {
      while (syscall4(NR_wait4, -1, 0, WNOHANG, 0) > 0) {
      }
    }
  }
}
