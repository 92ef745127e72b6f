/* reload.h - ops that change the code: reload, rollback, versions; and what came of a change, as JSON. Threads: any. */
#ifndef OPS_RELOAD_H
#define OPS_RELOAD_H
#include "actor/outcome.h"
#include "ground/json.h"

void reload_put(Text *t, const Outcome *outcome); /* members, into an open object */
#endif
