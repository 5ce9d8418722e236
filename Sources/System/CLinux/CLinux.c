#define _GNU_SOURCE
#include "CLinux.h"

#include <sys/sysmacros.h>

unsigned clinux_major(dev_t device) { return major(device); }
unsigned clinux_minor(dev_t device) { return minor(device); }
