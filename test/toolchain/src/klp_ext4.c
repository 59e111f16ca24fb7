/* The same for a module. */
#include "livepatch.h"

static int new_third(void) { return 3; }
static void post_patch(struct klp_object *object) { (void)object; }
static struct klp_func_ext funcs[] __attribute__((section(KLP_FUNCS))) = { { .old_name = "third", .new_func = new_third } };
static struct klp_object_ext object __attribute__((section(KLP_OBJECTS), used)) = {
	.name = "ext4", .funcs = funcs, .callbacks = { .post_patch = post_patch }, .nr_funcs = 1,
};
