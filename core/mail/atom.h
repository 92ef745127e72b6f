/* atom.h - handler names as small numbers, one table a process, grow-only.
 *
 * Names come from behaviours that were loaded, never from messages, so no sender can fill the table; a name
 * without an atom travels as a string and works all the same. Threads: from any; finding takes no lock. */
#ifndef MAIL_ATOM_H
#define MAIL_ATOM_H
#include <stddef.h>
#include <stdint.h>

#define ATOM_MAX 65535
#define ATOM_TEXT_MAX 100 /* longer names get no atom */

uint32_t    atom_intern(const char *text, size_t len); /* 0: too long, table full, or no memory */
uint32_t    atom_find(const char *text, size_t len);   /* 0: unknown */
const char *atom_text(uint32_t atom, size_t *len);     /* borrowed for ever; "" for 0 */
#endif
