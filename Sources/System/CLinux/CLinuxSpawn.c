#define _GNU_SOURCE
#include "CLinuxSpawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The program tells the caller its PID with an empty error (the kernel translates the PID in the credentials of the
// message to the reader's namespace); a second message, if any, is the errno of a failed step.
static void report(int channel, int error) {
    while (send(channel, &error, sizeof error, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
}

static void fail(int channel) {
    report(channel, errno);
    _exit(127);
}

static void run_program(const char *path, char *const argv[], char *const envp[], const char *directory, int output,
                        int isolated, int channel) {
    report(channel, 0);
    setsid();
    if (isolated && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail(channel);
    if (isolated && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) fail(channel);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) fail(channel);
    if (syscall(SYS_close_range, 3, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) < 0) fail(channel);
    if (chdir(directory) < 0) fail(channel);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, argv, envp);
    fail(channel);
}

// Waits for one message; returns its length (0 at the end) and, when it carries credentials, the sender's PID.
static ssize_t receive(int channel, int *error, pid_t *sender) {
    union { char bytes[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control;
    struct iovec part = {.iov_base = error, .iov_len = sizeof *error};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t length;
    do { length = recvmsg(channel, &message, 0); } while (length < 0 && errno == EINTR);
    struct cmsghdr *header = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_type == SCM_CREDENTIALS) {
        struct ucred credentials;
        memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
        *sender = credentials.pid;
    }
    return length;
}

pid_t clinux_spawn_detached(const char *path, char *const argv[], char *const envp[], const char *directory,
                            int output, const int *joined, int joined_count, int isolated) {
    int channel[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) return -errno;
    int on = 1;
    if (setsockopt(channel[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
        int error = errno;
        close(channel[0]);
        close(channel[1]);
        return -error;
    }
    pid_t entrance = fork();
    if (entrance == 0) {
        for (int index = 0; index < joined_count; index++) {
            if (setns(joined[index], 0) < 0) fail(channel[1]);
        }
        if (isolated && unshare(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) < 0) fail(channel[1]);
        pid_t inside = fork();
        if (inside < 0) fail(channel[1]);
        if (inside == 0) {
            // Now in the PID namespace. One more fork gives the program to that namespace's init,
            // unless the program is to be the init.
            pid_t program = isolated ? 0 : fork();
            if (program < 0) fail(channel[1]);
            if (program == 0) run_program(path, argv, envp, directory, output, isolated, channel[1]);
            _exit(0);
        }
        if (!isolated) while (waitpid(inside, NULL, 0) < 0 && errno == EINTR) {}
        _exit(0);
    }
    int error = entrance < 0 ? errno : 0;
    close(channel[1]);
    pid_t program = 0, ignored = 0;
    if (entrance > 0) {
        int told = 0;
        ssize_t length = receive(channel[0], &told, &program);
        if (length <= 0) error = length < 0 ? errno : ECHILD;
        else if (told != 0) error = told;
        else if (receive(channel[0], &told, &ignored) > 0) error = told;
        while (waitpid(entrance, NULL, 0) < 0 && errno == EINTR) {}
    }
    close(channel[0]);
    return error ? -error : program;
}

int clinux_pidfd_open(pid_t pid) {
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

pid_t clinux_spawn_piped(const char *path, char *const argv[], char *const envp[], int input, int output, int errors) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    pid_t pid = 0;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0) return -code;
    code = posix_spawnattr_init(&attributes);
    if (code != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -code;
    }
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    if (code == 0) {
        code = input < 0 ? posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
                         : posix_spawn_file_actions_adddup2(&actions, input, 0);
    }
    if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, errors, 2);
    if (code == 0) code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (code == 0) code = posix_spawn(&pid, path, &actions, &attributes, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code == 0 ? pid : -code;
}

int clinux_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}
