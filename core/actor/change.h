/* change.h - what is to be reloaded: which files have changed, and a new version of each behaviour that they belong to.
 *
 * The first stages of a reload, once a node: compile, a look at what handlers do to file-level locals, the body in a VM
 * of its own. A module that several behaviours require brings new versions of all of them: one set, or none.
 * Threads: any, one at a time; it takes as long as the bodies run. */
#ifndef ACTOR_CHANGE_H
#define ACTOR_CHANGE_H
#include "actor/behaviour.h"

#define CHANGE_TEXT_MAX 4096
#define CHANGE_PATH_MAX 512

typedef enum {
    STAGE_COMPILE,
    STAGE_STATIC, /* handlers that assign file-level locals */
    STAGE_BODY,
    STAGE_MIGRATE, /* or downgrade */
    STAGE_CHECK,
    STAGE_SWAP,
    STAGE_NONE /* it was not begun */
} ChangeStage;
extern const char *const change_stages[]; /* "compile", ... */

struct Parcel;

typedef struct Change {
    const Behaviour *tried; /* whose new body runs, or ran last */
    const struct Parcel *parcel; /* texts from another node, instead of our files; or NULL */
    BehaviourPair *pairs;
    size_t count;
    const Source **fresh; /* what is new of their text */
    size_t fresh_count;
    char *warnings; /* lines, or NULL */
    /* of a failure: */
    ChangeStage stage;
    char message[CHANGE_TEXT_MAX];
} Change;

/* Of the modules named, and all that they require; of all that are loaded if there are no names. `force`: a version
 * that has not changed is in the set, too. With a parcel its texts count, not our files, and modules that are not here
 * are no error. 0 (perhaps with an empty set), or a negative error: see stage, message. */
int  change_find(const char *const *names, size_t name_count, bool force, const struct Parcel *parcel, Change *out);
/* Before change_find, on a node on which nobody may have that module yet: it is loaded. 0, or an error in `out`. */
int  change_load(const char *name, Change *out);
bool change_knows(const char *name); /* a behaviour here is called so, or requires it */
/* Back to what there was before the last change of the module named, for all that changed together with it. */
int  change_back(const char *name, Change *out);
void change_free(Change *c);
/* "FILE:LINE: ..." at the begin of a message: *line 0 if it has none. */
void change_place(const char *message, char *file, size_t size, int *line);
#endif
