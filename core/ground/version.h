/* version.h - the program's. */
#ifndef GROUND_VERSION_H
#define GROUND_VERSION_H
#define THRONG_VERSION "0.1.0"
#endif
