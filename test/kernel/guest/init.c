/*
 * PID 1 of the guest: does what its first serial line says, one command a line, and answers each with one line of JSON
 * that has what the kernel then shows. Knows nothing of what is right; whoever asks compares.
 *
 * ttyS0 is the kernel's console, ttyS1 carries commands and answers, ttyS2 the standard output of the agent.
 * A command is an operation and its arguments, separated by tabs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LIVEPATCH "/sys/kernel/livepatch"
#define AGENT_TTY "/dev/ttyS2"
#define AGENT_LOG "/var/log/agent"
#define NAME_BYTES 64
#define PATCHES_MAX 256
#define ARGUMENTS_MAX 32

static FILE *answers;
static int kernel_log = -1;
static pid_t agent, background;

static void sleep_ms(int ms) { usleep(ms * 1000); }

static double monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void put_string(const char *text, size_t length)
{
	putc('"', answers);
	for (size_t at = 0; at < length; at++) {
		unsigned char byte = text[at];
		if (byte == '"' || byte == '\\')
			fprintf(answers, "\\%c", byte);
		else if (byte < 32 || byte > 126)
			fprintf(answers, "\\u%04x", byte);
		else
			putc(byte, answers);
	}
	putc('"', answers);
}

static void put_field(const char *key, const char *value)
{
	fprintf(answers, ",\"%s\":", key);
	put_string(value, strlen(value));
}

static const char *errno_name(int error)
{
	const char *name = strerrorname_np(error);
	return error == 0 ? "ok" : name ? name : "?";
}

/* Bytes read, or -errno. */
static int read_file(const char *path, char *text, int size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), got, length = 0;
	if (fd < 0)
		return -errno;
	while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) > 0)
		length += got;
	close(fd);
	text[length] = 0;
	return length;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;
	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

/* -1 where the patch, or on this kernel the attribute, is not there. */
static int attribute(const char *patch, const char *name)
{
	char path[256], text[32];
	snprintf(path, sizeof path, LIVEPATCH "/%s/%s", patch, name);
	return read_file(path, text, sizeof text) > 0 ? atoi(text) : -1;
}

static int list_patches(char names[][NAME_BYTES])
{
	DIR *directory = opendir(LIVEPATCH);
	struct dirent *entry;
	int count = 0;
	if (!directory)
		return 0;
	while ((entry = readdir(directory)) && count < PATCHES_MAX)
		if (entry->d_name[0] != '.')
			snprintf(names[count++], NAME_BYTES, "%s", entry->d_name);
	closedir(directory);
	return count;
}

/* A patch that is loaded and one that leaves both show something else than 1 and 0 for a time. */
static int is_settled(void)
{
	static char names[PATCHES_MAX][NAME_BYTES];
	int count = list_patches(names);
	for (int at = 0; at < count; at++)
		if (attribute(names[at], "transition") != 0 || attribute(names[at], "enabled") != 1)
			return 0;
	return 1;
}

static int settle(int limit_ms)
{
	double begun_ms = monotonic_ms();
	while (!is_settled()) {
		if (monotonic_ms() - begun_ms > limit_ms)
			return ETIMEDOUT;
		sleep_ms(5);
	}
	return 0;
}

static int load(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "/patches/%s.ko", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int error = syscall(SYS_finit_module, fd, "", 0) ? errno : 0;
	close(fd);
	return error;
}

static int load_in_background(const char *name)
{
	background = fork();
	if (background == 0)
		_exit(load(name));
	return background < 0 ? errno : 0;
}

static int join_background(void)
{
	int status;
	if (waitpid(background, &status, 0) < 0)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static int start_agent(char **arguments)
{
	fflush(answers);
	agent = fork();
	if (agent < 0)
		return errno;
	if (agent == 0) {
		setsid();
		/* Without a controlling terminal: neither end's silence may stop it. */
		int output = open(AGENT_TTY, O_WRONLY | O_NOCTTY);
		int log = open(AGENT_LOG, O_WRONLY | O_CREAT | O_APPEND, 0644);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(output, 1);
		dup2(log, 2);
		execv(arguments[0], arguments);
		_exit(127);
	}
	return 0;
}

static int signal_agent(int number)
{
	if (kill(agent, number))
		return errno;
	if (number == SIGKILL)
		waitpid(agent, NULL, 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status, (void)type, (void)place;
	return remove(path);
}

static int step_clock(long long by_ms)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	long long ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + by_ms;
	now.tv_sec = ms / 1000;
	now.tv_nsec = ms % 1000 * 1000000;
	return clock_settime(CLOCK_REALTIME, &now) ? errno : 0;
}

static int flood_kernel_log(int records)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char record[512];
	if (fd < 0)
		return errno;
	memset(record, 'x', sizeof record);
	for (int at = 0; at < records; at++)
		if (write(fd, record, sizeof record) < 0)
			return errno;
	close(fd);
	return 0;
}

/* The kernel's own lines since the last answer; what user space wrote to the log has another facility. */
static void put_kernel_lines(void)
{
	char record[8192];
	int length, is_first = 1;
	fputs(",\"dmesg\":[", answers);
	while ((length = read(kernel_log, record, sizeof record - 1)) != 0) {
		if (length < 0) {
			if (errno == EPIPE)
				continue;
			break;
		}
		record[length] = 0;
		char *text = strchr(record, ';');
		if (!text || atoi(record) > 7)
			continue;
		char *end = strchr(++text, '\n');
		if (!is_first)
			putc(',', answers);
		is_first = 0;
		put_string(text, end ? (size_t)(end - text) : strlen(text));
	}
	putc(']', answers);
}

static void put_patches(void)
{
	static char names[PATCHES_MAX][NAME_BYTES];
	static const char *attributes[] = { "enabled", "transition", "replace", "stack_order" };
	int count = list_patches(names);
	fputs(",\"after\":[", answers);
	for (int at = 0; at < count; at++) {
		fprintf(answers, "%s{\"name\":", at ? "," : "");
		put_string(names[at], strlen(names[at]));
		for (size_t which = 0; which < sizeof attributes / sizeof *attributes; which++) {
			int value = attribute(names[at], attributes[which]);
			if (value >= 0)
				fprintf(answers, ",\"%s\":%d", attributes[which], value);
		}
		putc('}', answers);
	}
	putc(']', answers);
}

static void put_modules(void)
{
	static char text[65536];
	int is_first = 1;
	read_file("/proc/modules", text, sizeof text);
	fputs(",\"modules\":[", answers);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		char name[NAME_BYTES], state[32], taints[32] = "";
		int references;
		if (sscanf(line, "%63s %*d %d %*s %31s %*s %31s", name, &references, state, taints) < 3)
			continue;
		fprintf(answers, "%s[\"%s\",%d,\"%s\",\"%s\"]", is_first ? "" : ",", name, references, state, taints);
		is_first = 0;
	}
	putc(']', answers);
}

static void answer(char **fields, int result, const char *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	fprintf(answers, "{\"at_ms\":%lld", now.tv_sec * 1000LL + now.tv_nsec / 1000000);
	put_field("op", fields[0]);
	put_field("target", fields[1] ? fields[1] : "");
	if (fields[1] && fields[2])
		put_field("arg", fields[2]);
	put_field("result", errno_name(result));
	put_field("out", out);
	fprintf(answers, ",\"agent_runs\":%s", agent > 0 && !kill(agent, 0) ? "true" : "false");
	put_kernel_lines();
	put_patches();
	put_modules();
	fputs("}\n", answers);
	fflush(answers);
}

static int write_attribute(const char *patch, const char *name, const char *value)
{
	char path[256];
	snprintf(path, sizeof path, LIVEPATCH "/%s/%s", patch, name);
	return write_file(path, value);
}

static int run(char **fields, char *out, int out_bytes)
{
	const char *operation = fields[0], *first = fields[1] ? fields[1] : "", *second = first[0] && fields[2] ? fields[2] : "";
	if (!strcmp(operation, "load"))
		return load(first);
	if (!strcmp(operation, "load_in_background"))
		return load_in_background(first);
	if (!strcmp(operation, "join"))
		return join_background();
	if (!strcmp(operation, "rmmod"))
		return syscall(SYS_delete_module, first, O_NONBLOCK) ? errno : 0;
	if (!strcmp(operation, "disable"))
		return write_attribute(first, "enabled", "0");
	if (!strcmp(operation, "enable"))
		return write_attribute(first, "enabled", "1");
	if (!strcmp(operation, "force"))
		return write_attribute(first, "force", "1");
	if (!strcmp(operation, "write"))
		return write_file(first, second);
	if (!strcmp(operation, "read")) {
		int length = read_file(first, out, out_bytes);
		if (length < 0)
			out[0] = 0;
		return length < 0 ? -length : 0;
	}
	if (!strcmp(operation, "settle"))
		return settle(atoi(first));
	if (!strcmp(operation, "sleep")) {
		sleep_ms(atoi(first));
		return 0;
	}
	if (!strcmp(operation, "show"))
		return 0;
	if (!strcmp(operation, "clock"))
		return step_clock(atoll(first));
	if (!strcmp(operation, "flood"))
		return flood_kernel_log(atoi(first));
	if (!strcmp(operation, "start"))
		return start_agent(fields + 1);
	if (!strcmp(operation, "signal"))
		return signal_agent(atoi(first));
	if (!strcmp(operation, "remove"))
		return nftw(first, remove_one, 16, FTW_DEPTH | FTW_PHYS) ? errno : 0;
	return ENOSYS;
}

static int open_serial(const char *path)
{
	struct termios settings;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	/* No echo, and a line feed stays one byte. */
	tcgetattr(fd, &settings);
	cfmakeraw(&settings);
	cfsetspeed(&settings, B115200);
	tcsetattr(fd, TCSANOW, &settings);
	return fd;
}

int main(void)
{
	static char line[8192], out[65536];
	struct utsname kernel;
	static const char *directories[] = { "/proc", "/sys", "/dev", "/tmp", "/run", "/var", "/var/lib", "/var/log", "/etc" };
	for (size_t at = 0; at < sizeof directories / sizeof *directories; at++)
		mkdir(directories[at], 0755);
	mount("proc", "/proc", "proc", 0, 0);
	mount("sysfs", "/sys", "sysfs", 0, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
	open_serial(AGENT_TTY);
	int commands_fd = open_serial("/dev/ttyS1");
	FILE *commands = fdopen(commands_fd, "r");
	answers = fdopen(dup(commands_fd), "w");
	setvbuf(answers, malloc(1 << 20), _IOFBF, 1 << 20);
	setenv("PATH", "/usr/bin:/bin", 1);
	setenv("HOME", "/tmp", 1);
	kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kernel_log, 0, SEEK_END);
	uname(&kernel);
	answer((char *[]){ "boot", kernel.release, kernel.machine, NULL }, 0, "");
	while (fgets(line, sizeof line, commands)) {
		char *fields[ARGUMENTS_MAX + 1] = { 0 }, *rest = line;
		line[strcspn(line, "\n")] = 0;
		for (int at = 0; at < ARGUMENTS_MAX && rest; at++)
			fields[at] = strsep(&rest, "\t");
		if (!strcmp(fields[0], "off"))
			break;
		out[0] = 0;
		if (agent > 0 && waitpid(agent, NULL, WNOHANG) == agent)
			agent = 0;
		answer(fields, run(fields, out, sizeof out), out);
	}
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
