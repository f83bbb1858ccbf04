/* For scripts/kernels.sh: lets User-Mode Linux 5.10 to 6.12 run on a processor with AVX-512 or more.

   It reads and sets what its processes have in the processor by ptrace(2), in 832 bytes: x87, SSE and AVX. To set them the kernel takes no
   fewer bytes than this processor's state has (EFAULT). Where there is no such call it does with x87 and SSE, as on older processors;
   so there is no such call. Then no program in it may use AVX. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/ptrace.h>

long ptrace(enum __ptrace_request request, ...) {
    va_list arguments;
    va_start(arguments, request);
    int pid = va_arg(arguments, int);
    void *which = va_arg(arguments, void *), *data = va_arg(arguments, void *);
    va_end(arguments);
    if ((request == PTRACE_GETREGSET || request == PTRACE_SETREGSET) && which == (void *)NT_X86_XSTATE) {
        errno = EIO;
        return -1;
    }
    long (*real)(enum __ptrace_request, ...) = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    return real(request, pid, which, data);
}
