/* What objtool makes of the difference of one object, for vmlinux. */
#include "livepatch.h"

static int new_first(void) { return 1; }
static int new_second(void) { return 2; }
static struct klp_func_ext funcs[] __attribute__((section(KLP_FUNCS))) = {
	{ .old_name = "first", .new_func = new_first },
	{ .old_name = "second", .new_func = new_second, .sympos = 2 },
};
static struct klp_object_ext object __attribute__((section(KLP_OBJECTS), used)) = { .funcs = funcs, .nr_funcs = 2 };
