/* As much of the kernel's structures as a livepatch module's data has; no kernel headers are needed. */
#define NULL ((void *)0)
typedef unsigned long ulong;

struct list_head { struct list_head *next, *prev; };
struct kobject { char bytes[64]; };
struct module;

struct klp_func {
	const char *old_name;
	void *new_func;
	ulong old_sympos;
	void *old_func;
	struct kobject kobj;
	struct list_head node, stack_node;
	ulong old_size, new_size;
	_Bool nop, patched, transition;
};
struct klp_object;
struct klp_callbacks {
	int (*pre_patch)(struct klp_object *);
	void (*post_patch)(struct klp_object *);
	void (*pre_unpatch)(struct klp_object *);
	void (*post_unpatch)(struct klp_object *);
	_Bool post_unpatch_enabled;
};
struct klp_object {
	const char *name;
	struct klp_func *funcs;
	struct klp_callbacks callbacks;
	struct kobject kobj;
	struct list_head func_list, node;
	struct module *mod;
	_Bool dynamic, patched;
};
struct klp_state { ulong id; unsigned int version; void *data; };
struct klp_patch {
	struct module *mod;
	struct klp_object *objs;
	struct klp_state *states;
	_Bool replace;
	struct list_head list;
	struct kobject kobj;
	struct list_head obj_list;
	_Bool enabled, forced;
	char rest[64];
};

/* kpatch's kmod/patch/kpatch-patch.h */
struct kpatch_patch_func {
	ulong new_addr, new_size, old_addr, old_size, sympos;
	char *name, *objname;
};
struct kpatch_pre_patch_callback { int (*callback)(void *); char *objname; };

/* include/linux/livepatch_external.h */
struct klp_func_ext { const char *old_name; void *new_func; ulong sympos; };
struct klp_object_ext {
	const char *name;
	struct klp_func_ext *funcs;
	struct klp_callbacks callbacks;
	unsigned int nr_funcs;
};

struct module { char head[312]; int (*init)(void); char middle[880]; void (*exit)(void); char rest[72]; };
extern struct module __this_module;
#define THIS_MODULE (&__this_module)

#define MODULE_INFO(tag, text) \
	static const char info_##tag[] __attribute__((section(".modinfo"), used, aligned(1))) = #tag "=" text

int init_module(void);
void cleanup_module(void);
int klp_enable_patch(struct klp_patch *patch);
void *kzalloc(ulong bytes);
