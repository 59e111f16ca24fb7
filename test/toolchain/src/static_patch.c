/* A livepatch as its author writes it: klp_patch is data. */
#include "livepatch.h"

static int new_first(void) { return 1; }
static int new_second(void) { return 2; }
static int new_third(void) { return 3; }
static int pre_patch(struct klp_object *object) { return object != NULL; }

static int shadow;
static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "first", .new_func = new_first },
	{ .old_name = "second", .new_func = new_second, .old_sympos = 2 },
	{ },
};
static struct klp_func ext4_funcs[] = { { .old_name = "third", .new_func = new_third }, { } };
static struct klp_func no_funcs[] = { { } };
static struct klp_object objs[] = {
	{ .funcs = vmlinux_funcs },
	{ .name = "ext4", .funcs = ext4_funcs, .callbacks = { .pre_patch = pre_patch } },
	{ .name = "xfs", .funcs = no_funcs },
	{ },
};
static struct klp_state states[] = {
	{ .id = 1, .version = 3, .data = &shadow },
	{ .id = -1UL, .version = 0 },
	{ },
};
static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objs, .states = states, .replace = 1 };

int init_module(void) { return klp_enable_patch(&patch); }
void cleanup_module(void) { }
