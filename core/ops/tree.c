/* The tree of who spawned whom. It is taken down as ps does it, step by step; whoever outlived his parent is a root. */
#include <stdlib.h>
#include <string.h>
#include "ops/request.h"
#include "ops/rows.h"

#define ROWS_PRESET 1000
#define ROWS_MOST 100000
#define STEP_LOOK 1000
#define STEP_SEND 200
#define LEVELS_MOST 1000 /* that a row is indented by; below they are as many */

typedef struct Node {
    uint64_t pid, parent, born;
} Node;

typedef struct Tree {
    Names names;
    uint32_t at;
    Node *nodes; /* by parent, then by birth, once all are there */
    size_t count, room, sent, shown, limit;
    struct Place { /* what is still to be shown: a run of nodes, and how deep */
        size_t at, end, level;
    } *stack;
    size_t depth, stack_room;
    Map places; /* pid -> 1 + its first child's place */
    uint64_t top; /* the pid to begin with; 0 = all */
} Tree;

static void tree_free(void *state) {
    Tree *t = state;
    names_free(&t->names);
    map_clear(&t->places);
    free(t->nodes);
    free(t->stack);
    free(t);
}

static int by_parent(const void *a, const void *b) {
    const Node *x = a, *y = b;
    if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
    if (x->born != y->born) return x->born < y->born ? -1 : 1;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool push(Tree *t, size_t at, size_t level) {
    size_t end = at;
    while (end < t->count && t->nodes[end].parent == t->nodes[at].parent) end++;
    if (t->depth == t->stack_room) {
        size_t room = t->stack_room == 0 ? 32 : t->stack_room * 2;
        struct Place *more = realloc(t->stack, room * sizeof *more);
        if (more == NULL) return false;
        t->stack = more;
        t->stack_room = room;
    }
    t->stack[t->depth++] = (struct Place){at, end, level};
    return true;
}

static bool push_children(Tree *t, uint64_t pid, size_t level) {
    uint64_t place;
    return !map_get(&t->places, pid, &place) || push(t, place - 1, level);
}

static void tree_send(Request *r) {
    Tree *t = request_state(r);
    bool memory = true;
    visit_begin();
    for (int i = 0; i < STEP_SEND && memory && t->depth > 0 && t->shown < t->limit; i++) {
        struct Place *p = &t->stack[t->depth - 1];
        if (p->at == p->end) {
            t->depth--;
            continue;
        }
        VisitView v;
        size_t len, level = p->level;
        uint64_t pid = t->nodes[p->at++].pid;
        if (visit_look(pid, &v)) {
            const char *name = names_name(&t->names, pid, &len);
            Text row = {0};
            json_open(&row, NULL, '{');
            json_integer(&row, "level", (int64_t)(level < LEVELS_MOST ? level : LEVELS_MOST));
            rows_put(&row, &v, name, len);
            json_close(&row, '}');
            request_more(r, &row);
            t->shown++;
        }
        memory = push_children(t, pid, level + 1);
    }
    visit_end();
    if (!memory) {
        request_error(r, "refused", "out of memory");
    } else if (t->depth > 0 && t->shown < t->limit) {
        request_later(r, tree_send);
    } else {
        Text value = {0};
        json_open(&value, NULL, '{');
        json_integer(&value, "count", (int64_t)t->count);
        json_integer(&value, "shown", (int64_t)t->shown);
        if (t->shown == t->limit) json_bool(&value, "cut", true);
        json_close(&value, '}');
        request_value(r, &value);
    }
}

static int by_pid(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All are known: who has no parent any more becomes a root (parent 0), and the rest stands by parent. */
static bool arrange(Tree *t) {
    if (t->count == 0) return true;
    uint64_t *living = malloc(t->count * sizeof *living);
    if (living == NULL) return false;
    for (size_t i = 0; i < t->count; i++) living[i] = t->nodes[i].pid;
    qsort(living, t->count, sizeof *living, by_pid);
    for (size_t i = 0; i < t->count; i++)
        if (t->nodes[i].parent != 0 &&
            bsearch(&t->nodes[i].parent, living, t->count, sizeof *living, by_pid) == NULL)
            t->nodes[i].parent = 0;
    free(living);
    for (size_t i = 0; t->top != 0 && i < t->count; i++) /* it alone is a root: 1 is nobody's pid, and before all */
        if (t->nodes[i].pid == t->top) t->nodes[i].parent = 1;
    qsort(t->nodes, t->count, sizeof *t->nodes, by_parent);
    for (size_t i = 0; i < t->count; i++)
        if (t->nodes[i].parent > 1 && (i == 0 || t->nodes[i - 1].parent != t->nodes[i].parent) &&
            map_put(&t->places, t->nodes[i].parent, i + 1) < 0)
            return false;
    size_t first = 0;
    if (t->top != 0)
        while (first < t->count && t->nodes[first].parent != 1) first++;
    else if (t->nodes[0].parent != 0) return true;
    return first == t->count || push(t, first, 0);
}

static void tree_look(Request *r) {
    Tree *t = request_state(r);
    bool memory = true, more = true;
    visit_begin();
    for (int i = 0; i < STEP_LOOK && memory && more; i++) {
        uint64_t pid = registry_next(&t->at);
        VisitView v;
        more = pid != 0;
        if (!more || !visit_look(pid, &v)) continue;
        if (t->count == t->room) {
            size_t room = t->room == 0 ? 256 : t->room * 2;
            Node *nodes = realloc(t->nodes, room * sizeof *nodes);
            if (nodes == NULL) {
                memory = false;
                break;
            }
            t->nodes = nodes;
            t->room = room;
        }
        t->nodes[t->count++] = (Node){pid, v.parent, v.born};
    }
    visit_end();
    if (memory && more) request_later(r, tree_look);
    else if (!memory || !arrange(t)) request_error(r, "refused", "out of memory");
    else tree_send(r);
}

static void tree_gather(Request *r) {
    Tree *t = request_state(r);
    if (names_more(&t->names)) request_later(r, tree_gather);
    else if (t->names.failed) request_error(r, "refused", "out of memory");
    else tree_look(r);
}

static void do_tree(Request *r) {
    uint64_t top = 0;
    if (request_arg(r, "pid") != NULL) {
        if ((top = request_pid(r, "pid")) == 0) return;
        if (registry_find(top) == NULL) {
            char who[PID_TEXT_MAX];
            pid_text(top, who);
            request_error(r, "no_actor", "%s is dead", who);
            return;
        }
    }
    Tree *t = calloc(1, sizeof *t);
    if (t == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    int64_t limit = request_integer(r, "limit", ROWS_PRESET);
    t->limit = (size_t)(limit < ROWS_MOST ? limit : ROWS_MOST);
    t->top = top;
    request_keep(r, t, tree_free);
    tree_gather(r);
}

const Op ops_tree[] = {
    {"tree", do_tree, OP_ALL, {{"pid", ARG_PID}, {"limit", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
