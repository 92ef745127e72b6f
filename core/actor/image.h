/* image.h - a VM as it is when a behaviour's body has just run, to be copied for each new actor.
 *
 * To build a VM (Lua's own strings, the libraries' doors, loading bytecode, running the body) takes ten times as long
 * as to copy its memory. An image is that memory and the list of its words that are addresses within it; a copy is
 * memcpy plus one addition for each such word. Which words those are is found by their value alone: an aligned word
 * whose value is a multiple of 8 and lies in a block of the VM's. That is right because
 *   - memory is zeroed before Lua gets it, so padding holds no address that was there before;
 *   - every address that Lua uses again from a VM at rest is a multiple of 8;
 *   - in one kind of object, the upvalue, a type byte lies over what was an address while the upvalue was open: its
 *     last word is left alone (which blocks are upvalues, lua_upvalueid tells);
 *   - what else could look like an address is a number or a piece of a string that a body made of the address of one of
 *     its own objects; it would be moved along with the object, and nothing breaks.
 *
 * Not every VM can be copied. Where a body has asked for what is not the same each time (the time, random numbers) or
 * done what is to be seen outside (a line in the log), where the VM holds what lies outside of it (userdata),
 * coroutines, or tables with keys that Lua finds by address (tables and functions as keys): there every actor runs the
 * body itself. Threads: an Image never changes; image_open from any thread, image_take and image_free by who owns the
 * VM or the image. */
#ifndef ACTOR_IMAGE_H
#define ACTOR_IMAGE_H
#include <stddef.h>
#include "actor/vm.h"

typedef struct Image Image;

/* Of a VM at rest, without an actor: nothing runs, its stack is empty. Collects its garbage first. NULL: it can't be
 * copied, or memory is short. */
Image *image_take(Vm *vm);
void   image_free(Image *image); /* NULL is fine */

/* As vm_open, with everything in it. 0 or UV_ENOMEM; then vm is as never opened. */
int image_open(Vm *vm, const Image *image, size_t memory_limit, struct Actor *actor);
#endif
