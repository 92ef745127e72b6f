/* watch.h - `throng run --watch`: what is saved is reloaded.
 *
 * The directories of all files that actors were made of are watched, so an editor that writes a new file and renames it
 * over the old one is noticed, too. After the last event a moment passes, so that several files saved at once are one
 * change. Then all that differs is reloaded as one set; the rollout logs what came of it, one line.
 * Threads: watch_open and watch_close from the thread that builds the node; the rest is the loop's. */
#ifndef OPS_WATCH_H
#define OPS_WATCH_H

int  watch_open(void); /* 0 or a negative libuv error */
void watch_close(void); /* never opened is fine; before the loop's end */
#endif
