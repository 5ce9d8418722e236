// The only C code of the project: what Swift cannot import (function-like macros, ioctl numbers, variadic calls).
#ifndef CLINUX_H
#define CLINUX_H

#include <sys/types.h>

/// Major and minor number of a device (macros in sys/sysmacros.h).
unsigned clinux_major(dev_t device);
unsigned clinux_minor(dev_t device);

#endif
