// Linked with the C++ programs of the demos: counts their system calls, which are made as before. The counts go to the file that
// IO_MODELS_COUNTS names: a number each of waits, accepts and all calls.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum What { WAITS, ACCEPTS, ALL, KINDS };

// Builtins of the compiler, because the headers of C++ take longer to compile than all the rest.
static uint64_t *counts() {
  static uint64_t unread[KINDS];
  static uint64_t *const shared = [] {
    const char *file = getenv("IO_MODELS_COUNTS");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(nullptr, sizeof unread, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    return page == MAP_FAILED ? unread : static_cast<uint64_t *>(page);
  }();
  return shared;
}

template <class... Arguments> static long counted(What what, long number, Arguments... arguments) {
  __atomic_fetch_add(&counts()[ALL], 1, __ATOMIC_RELAXED);
  if (what != ALL) __atomic_fetch_add(&counts()[what], 1, __ATOMIC_RELAXED);
  return syscall(number, arguments...);
}

// The headers that declare these are left out, because the C libraries differ in what they say of exceptions.
extern "C" {
int epoll_wait(int epoll, void *events, int most, int ms) {
  return counted(WAITS, SYS_epoll_pwait, epoll, events, most, ms, nullptr, 8);
}
int accept4(int fd, void *address, void *length, int flags) {
  return counted(ACCEPTS, SYS_accept4, fd, address, length, flags);
}
long recv(int fd, void *buffer, size_t length, int flags) {
  return counted(ALL, SYS_recvfrom, fd, buffer, length, flags, nullptr, nullptr);
}
long send(int fd, const void *buffer, size_t length, int flags) {
  return counted(ALL, SYS_sendto, fd, buffer, length, flags, nullptr, 0);
}
int ioctl(int fd, unsigned long request, void *argument) { return counted(ALL, SYS_ioctl, fd, request, argument); }
}
