/*
 * User Mode Linux 6.1 keeps 2696 octets of a process's FPU state. Where the CPU has more (Intel AMX: 11008), the host refuses to set
 * less than all of it, and the guest panics when it starts its first process ("ptrace set fp regs failed, errno = 14").
 *
 * Preloaded, this stands between them: what is read is cut to what User Mode Linux has room for, what is set is filled up with zeros,
 * and features whose state is beyond the cut are declared to be in their initial state. No process of a guest may use AMX anyway.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202
/* Where the XSAVE header says which features are not in their initial state, and those that fit: x87 to PKRU. */
#define XSTATE_BV 512
#define FITTING UINT64_C(0x3ff)

/* User Mode Linux has one thread that traces. */
static char whole[1 << 16];
static size_t whole_size;

static long raw_ptrace(long request, long pid, void *address, void *data)
{
	return syscall(SYS_ptrace, request, pid, address, data);
}

static long read_whole(long pid)
{
	struct iovec all = { whole, sizeof whole };
	long result = raw_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all);

	if (result == 0)
		whole_size = all.iov_len;
	return result;
}

static void hide_the_rest(void)
{
	uint64_t features;

	memcpy(&features, whole + XSTATE_BV, sizeof features);
	features &= FITTING;
	memcpy(whole + XSTATE_BV, &features, sizeof features);
}

static long transfer(long request, long pid, struct iovec *part)
{
	struct iovec all = { whole, 0 };

	if ((request == PTRACE_GETREGSET || whole_size == 0) && read_whole(pid) != 0)
		return -1;
	if (part->iov_len >= whole_size)
		return raw_ptrace(request, pid, (void *)NT_X86_XSTATE, part);
	if (request == PTRACE_GETREGSET) {
		hide_the_rest();
		memcpy(part->iov_base, whole, part->iov_len);
		return 0;
	}
	memset(whole, 0, whole_size);
	memcpy(whole, part->iov_base, part->iov_len);
	hide_the_rest();
	all.iov_len = whole_size;
	return raw_ptrace(request, pid, (void *)NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	long pid, word;
	void *address, *data;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	switch (request) {
	case PTRACE_GETREGSET:
	case PTRACE_SETREGSET:
		if ((uintptr_t)address == NT_X86_XSTATE)
			return transfer(request, pid, data);
		break;
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSER: /* the system call stores what the function returns */
		if (raw_ptrace(request, pid, address, &word) != 0)
			return -1;
		errno = 0;
		return word;
	default:
		break;
	}
	return raw_ptrace(request, pid, address, data);
}
