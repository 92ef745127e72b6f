/* voice.h - this node's part in a change of code that another node, or this one, brings to all: see ops/concert.h.
 *
 * Bodies of CALL_RELOAD: a VoiceKind (1 byte), the concert's number (8), and
 *   VOICE_PUT      the parcel's size (4), an offset (4), bytes of it: in order, and before VOICE_PREPARE
 *   VOICE_PREPARE  what is wanted, a JSON object. Answer: 'R', all here are ready, or 'F', it failed and nothing has
 *                  changed; and what came of it, a JSON object
 *   VOICE_TAKE     Answer: 'T', all here have taken it, or 'F', and what came of it. May be asked again
 *   VOICE_KEEP     it stays. Answer: 'D', and what came of it
 *   VOICE_BACK     it is forgotten, or taken back. Answer: 'D', and what came of it
 * One at a time. Whoever begins it must stay in reach: if no link to it is up for VOICE_GRACE_MS, or it says nothing
 * for as long as it has said it might take, who has not taken it forgets it, and who has taken it keeps it.
 * Threads: the loop's, but for voice_open. */
#ifndef OPS_VOICE_H
#define OPS_VOICE_H
#include <stdbool.h>

typedef enum { VOICE_PUT = 1, VOICE_PREPARE, VOICE_TAKE, VOICE_KEEP, VOICE_BACK } VoiceKind;
#define VOICE_HEAD 9
#define VOICE_PIECE (512u << 10)
#define VOICE_GRACE_MS 10000

/* Before the cluster starts. `own_files`: what comes from another node is not run here, it must be the same as ours. */
void voice_open(bool own_files);

void voice_close(void); /* when no rollout runs any more, and the loop still does */
#endif
