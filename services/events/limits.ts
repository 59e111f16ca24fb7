/**
 * Every limit of the formats, in one place. Sizes of text are in bytes of its UTF-8.
 * What is over a limit is refused with its name, never cut.
 */

/** What protobuf's uint32 holds; also the highest version of a state. */
export const U32_MAX = 0xffff_ffff;
export const U64_MAX = 0xffff_ffff_ffff_ffffn;

export const HOST_ID_BYTES_MAX = 255;
export const SEQUENCE_MAX = 0xffff_ffffn;

/** MODULE_NAME_LEN of include/linux/module.h is 64 - sizeof(unsigned long), with the final zero byte. */
export const PATCH_NAME_BYTES_MAX = 55;
/** A GNU build id is 20 bytes today; the linker's --build-id=0x… allows any length. */
export const BUILD_ID_BYTES_MAX = 64;
/** __NEW_UTS_LEN of include/uapi/linux/utsname.h. */
export const KERNEL_RELEASE_BYTES_MAX = 64;
export const ARCH_BYTES_MAX = 64;
/** /proc/sys/kernel/random/boot_id is a UUID; it may also be absent. */
export const BOOT_ID_BYTES = 16;
export const REFUSED_LINE_BYTES_MAX = 512;

export const STACK_ENTRIES_MAX = 64;
export const LINGERING_ENTRIES_MAX = 256;

export const RECORD_EVENTS_MAX = 10_000;
/** Below the 1,048,588 bytes of Kafka's max.message.bytes, which counts the record batch's framing. */
export const RECORD_BYTES_MAX = 900 * 1024;
/** Where publishers and the embedded log cut, so that one host's history reads little. */
export const RECORD_CUT_BYTES = 16 * 1024;

export const MANIFEST_STATES_MAX = 4_096;
export const MANIFEST_FUNCTIONS_MAX = 65_536;

export const NDJSON_LINE_BYTES_MAX = 1024 * 1024;
/** No document of the formats has ten. */
export const JSON_LEVELS_MAX = 32;
