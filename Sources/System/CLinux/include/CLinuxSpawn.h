#ifndef CLINUX_SPAWN_H
#define CLINUX_SPAWN_H

#include <sys/types.h>

/// Starts a detached program (own session, signals as by default, no inherited descriptor but 0, 1 and 2).
///
/// `path` is absolute; `argv` and `envp` end with NULL; `output` becomes standard output and standard error.
/// `joined` holds descriptors of namespaces to enter (a PID namespace among them makes the program a child of that
/// namespace's init). With `isolated` the program gets network, PID and mount namespaces of its own instead: it is the
/// init, has private mounts, and /proc shows its namespace.
/// Returns the program's PID as the caller sees it, or the negative errno of the step that failed.
/// Made of calls that are safe between fork and exec, so that threads may be running (signal-safety(7)).
pid_t clinux_spawn_detached(const char *path, char *const argv[], char *const envp[], const char *directory,
                            int output, const int *joined, int joined_count, int isolated);

/// Starts a program as a child: in a session of its own, with signals as by default, and no descriptor but 0, 1 and 2.
/// `input`, `output` and `errors` become these; a negative `input` means `/dev/null`. Returns its PID or a negative errno.
pid_t clinux_spawn_piped(const char *path, char *const argv[], char *const envp[], int input, int output, int errors);

/// A pipe whose ends no program inherits and whose reading end does not block. Returns 0 or the errno.
int clinux_pipe(int ends[2]);

/// A descriptor of the process (pidfd_open(2)), or the negative errno. It becomes readable when the process ends.
int clinux_pidfd_open(pid_t pid);

/// Sends a signal through a descriptor of a process; 0 or the negative errno (pidfd_send_signal(2)).
int clinux_pidfd_signal(int pidfd, int signal);

#endif
