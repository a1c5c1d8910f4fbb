/* raw.h - RAW before a local array or struct of a kernel that is written before it is read: it does
 * without the zeroes the build gives to all locals (configure.ac). Writing those for every panel of
 * weights took a fifth of the time of decoding. */
#ifndef SP_ENGINE_RAW_H
#define SP_ENGINE_RAW_H

#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define RAW __attribute__((uninitialized))
#endif
#endif
#ifndef RAW
#define RAW
#endif

#endif
