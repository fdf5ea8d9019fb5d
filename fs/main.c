/* SPDX-License-Identifier: MIT */
/*
 * Composition root: the one place that knows all parts, and the order in which
 * they start and end.
 *
 * Start: check the directories, fork, lock DATADIR, read settings and data, and
 * only then mount: a program that sees the mount sees all data. The command
 * returns when the kernel's first request has been answered.
 *
 * End. An umount from outside ends the request loop by itself. At a SIGTERM the
 * signal thread does the same from inside, while the loop still serves: first
 * it stops the notifier (which may wait for a process that waits for us), then
 * unmounts, so that the kernel writes back what programs changed through
 * MAP_SHARED; if somebody still uses the mount it is detached, and those who are
 * left get an error. After the loop both ways are one: no more clock, no more
 * control files, the final save.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/conf.h"
#include "fs/cron.h"
#include "fs/ctl.h"
#include "fs/daemon.h"
#include "fs/datadir.h"
#include "fs/fs.h"
#include "fs/load.h"
#include "fs/lockfile.h"
#include "fs/log.h"
#include "fs/mountpoint.h"
#include "fs/notify.h"
#include "fs/options.h"
#include "fs/session.h"
#include "fs/settings.h"
#include "fs/signals.h"
#include "fs/transport.h"
#include "persist/persist.h"
#include "store/store.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1,
	EXIT_MOUNT = 2,
	EXIT_DATA = 3,
	EXIT_SAVE = 4,
};

struct app {
	struct options opt;
	struct datadir dir;
	char *fsname;
	struct daemon daemon;
	struct lockfile lock;
	struct signals *signals;
	struct conf *conf;
	struct conf_values values; /* as at the start */
	struct store *st;
	struct persist *p;
	struct settings_target settings;
	struct fs fs;
	struct fuse_session *se;
	struct transport *transport;
	struct notify *notify;
	struct ctl *ctl;
	struct cron *cron;
	struct rdb_load_stats loaded;
	bool mounted;
};

/* Tells the user why there will be no mount. Return: @code. */
static int PRINTF_LIKE(2, 3) fail(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("keyfs: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return code;
}

/* --- callbacks from below ----------------------------------------------- */

static void on_persist_event(void *arg, enum persist_level level,
			     const char *text)
{
	static const enum log_level levels[] = {
		[PERSIST_ERROR] = LOG_LV_ERROR,
		[PERSIST_WARNING] = LOG_LV_WARNING,
		[PERSIST_INFO] = LOG_LV_INFO,
	};

	(void)arg;
	log_msg(levels[level], "persist: %s", text);
}

static void get_figures(void *arg, struct ctl_fs_figures *ret)
{
	const struct app *app = arg;

	ret->requests = transport_requests(app->transport);
	(void)snprintf(ret->transport, sizeof(ret->transport), "%s",
		       transport_name(app->transport));
}

static void on_settings(void *arg, const struct conf_values *v)
{
	struct app *app = arg;

	settings_apply(&app->settings, v);
	log_msg(LOG_LV_INFO, "fs: settings changed through %s/%s",
		app->dir.mountpoint, CTL_DIR_NAME);
}

static void on_save_signal(void *arg)
{
	struct app *app = arg;
	int r = persist_bgsave(app->p, NULL, NULL);

	if (r < 0)
		log_msg(LOG_LV_WARNING, "fs: SIGUSR1: no save started: %s",
			r == -EALREADY ? "one is running" : strerror(-r));
}

static void on_early_signal(void *arg)
{
	struct app *app = arg;

	lockfile_release(&app->lock);
}

static void on_stop_signal(void *arg, int sig)
{
	struct app *app = arg;
	const char *mp = app->dir.mountpoint;

	log_msg(LOG_LV_INFO, "fs: ending, signal=%s", strsignal(sig));
	notify_stop(app->notify);
	if (mountpoint_find(mp, app->fsname) &&
	    mountpoint_unmount(mp, false) < 0) {
		log_msg(LOG_LV_WARNING,
			"fs: %s is still in use; detached, and whoever uses it "
			"gets an error",
			mp);
		mountpoint_flush(mp);
		if (mountpoint_unmount(mp, true) < 0)
			log_msg(LOG_LV_WARNING, "fs: cannot detach %s", mp);
	}
	transport_stop(app->transport);
}

/* --- start --------------------------------------------------------------- */

static int print_version(void)
{
	(void)printf("keyfs %s\nlibfuse %s\n", KEYFS_VERSION,
		     fuse_pkgversion());
	(void)fflush(stdout);
	fuse_lowlevel_version(); /* prints the protocol's */
	return EXIT_OK;
}

static bool is_mounted(void *arg)
{
	const struct app *app = arg;

	return mountpoint_find(NULL, app->fsname);
}

static void on_waiting(void *arg, pid_t pid)
{
	(void)arg;
	(void)fail(0, "waiting for keyfs (pid %d) to finish its last save",
		   (int)pid);
}

static int check_free(struct app *app)
{
	if (!mountpoint_find(app->dir.mountpoint, NULL))
		return 0;
	return fail(EXIT_MOUNT,
		    "a keyfs is mounted on %s already; unmount it first",
		    app->dir.mountpoint);
}

static int lock_datadir(struct app *app)
{
	const struct lockfile_wait wait = { is_mounted, on_waiting, app };
	struct datadir again = DATADIR_INIT;
	char error[DATADIR_ERROR_MAX];
	pid_t pid = 0;
	int r;

	r = lockfile_lock(&app->lock, app->dir.fd, &wait, &pid);
	if (r == -EBUSY)
		return fail(EXIT_DATA,
			    "%s is in use by another keyfs (pid %d); unmount "
			    "that one first",
			    app->dir.path, (int)pid);
	if (r < 0)
		return fail(EXIT_DATA, "cannot lock %s/%s: %s", app->dir.path,
			    LOCKFILE_NAME, strerror(-r));
	/* Waiting may have changed what is at the mount point. The descriptor
	 * of DATADIR stays the one that is locked. */
	r = datadir_open(&again, app->opt.datadir, app->opt.mountpoint, error);
	if (r != 0)
		return fail(r, "%s", error);
	app->dir.n_dead += again.n_dead;
	datadir_close(&again);
	return check_free(app);
}

static int read_conf(struct app *app)
{
	struct conf_error error = { 0 };
	int r = conf_open(NULL, app->dir.fd, &app->conf, &error);

	if (r == 0) {
		conf_get(app->conf, &app->values);
		return 0;
	}
	if (error.line > 0)
		return fail(EXIT_USAGE, "%s/%s: line %d: %s", app->dir.path,
			    CONF_FILE_NAME, error.line, error.what);
	return fail(EXIT_DATA, "%s/%s: %s", app->dir.path, CONF_FILE_NAME,
		    error.what[0] ? error.what : strerror(-r));
}

static int open_layers(struct app *app)
{
	const struct conf_values *v = &app->values;
	const struct store_options store_opt = {
		.uid = getuid(),
		.gid = getgid(),
		.sep = app->opt.sep,
		.max_memory = v->maxmemory,
		.max_value = v->proto_max_bulk_len,
		.max_view = v->snapshot_memory_limit,
	};
	struct persist_options p = {
		.dirfd = app->dir.fd,
		.dbfilename = v->dbfilename,
		.compress = v->rdbcompression,
		.checksum = v->rdbchecksum,
		.incremental_sync = v->rdb_save_incremental_fsync,
		.stop_writes_on_error = v->stop_writes_on_bgsave_error,
		.n_points = v->n_save,
		.event = on_persist_event,
	};
	int r;

	memcpy(p.points, v->save, sizeof(p.points));
	r = store_new(&store_opt, &app->st);
	if (r < 0)
		return fail(EXIT_DATA, "cannot set up the store: %s",
			    strerror(-r));
	p.st = app->st;
	r = persist_open(&p, &app->p);
	if (r < 0)
		return fail(EXIT_DATA, "cannot use %s: %s", app->dir.path,
			    strerror(-r));
	app->settings = (struct settings_target){ app->st, app->p };
	settings_apply(&app->settings, v);
	if (app->opt.debug)
		log_set_level(LOG_LV_DEBUG);
	else if (!app->opt.foreground) /* the terminal is not for the log */
		log_set_level(LOG_LV_WARNING);
	return 0;
}

static int load(struct app *app)
{
	const struct load_options opt = {
		.p = app->p,
		.verify = app->values.rdbchecksum,
		.sep_fixed = app->opt.sep_fixed,
		.terminal = stderr,
	};
	char error[LOAD_ERROR_MAX];
	int r = load_data(&opt, &app->loaded, error);

	return r == 0 ? 0
		      : fail(EXIT_DATA, "%s/%s: %s", app->dir.path,
			     app->values.dbfilename, error);
}

/* Called by the dispatcher until the kernel has got its first answer. */
static bool on_request(void *arg)
{
	struct app *app = arg;

	if (!atomic_load(&app->fs.up))
		return false;
	lockfile_set_state(&app->lock, "running");
	if (daemon_ready(&app->daemon)) {
		log_to_syslog(1);
		log_set_level(app->values.loglevel);
	}
	log_msg(LOG_LV_INFO,
		"fs: mounted, datadir=%s mountpoint=%s keys=%" PRIu64
		" expired=%" PRIu64,
		app->dir.path, app->dir.mountpoint, app->loaded.keys,
		app->loaded.expired);
	if (app->dir.n_dead > 0)
		log_msg(LOG_LV_WARNING,
			"fs: took away a dead mount that a crash had left, "
			"mountpoint=%s",
			app->dir.mountpoint);
	return true;
}

static int new_ctl(struct app *app)
{
	const struct ctl_options opt = {
		.st = app->st,
		.p = app->p,
		.conf = app->conf,
		.version = KEYFS_VERSION,
		.datadir = app->dir.path,
		.mountpoint = app->dir.mountpoint,
		.owner_uid = getuid(),
		.owner_gid = getgid(),
		.figures = get_figures,
		.apply = on_settings,
		.arg = app,
	};

	return app->opt.ctl == OPTIONS_CTL_OFF ? 0 : ctl_new(&opt, &app->ctl);
}

/* Mounts, unless somebody else has while we were loading. */
static int mount_alone(struct app *app)
{
	int claim, r = check_free(app);

	if (r != 0)
		return r;
	claim = mountpoint_claim(app->dir.mountpoint);
	r = check_free(app);
	if (r == 0 && fuse_session_mount(app->se, app->dir.mountpoint) != 0)
		r = fail(EXIT_MOUNT, "cannot mount on %s", app->dir.mountpoint);
	if (claim >= 0)
		(void)close(claim);
	return r;
}

static int mount_session(struct app *app)
{
	struct transport_options t = { NULL, on_request, app };
	struct cron_options cron = { app->st, app->p, NULL };
	int r;

	t.se = app->se = session_new(&app->opt, app->fsname, &app->fs);
	if (!app->se)
		return fail(EXIT_MOUNT, "cannot set up a FUSE session");
	r = transport_new(&t, &app->transport);
	if (r == 0)
		r = notify_new(app->se, &app->notify);
	if (r == 0)
		r = new_ctl(app);
	if (r < 0)
		return fail(EXIT_MOUNT, "cannot start: %s", strerror(-r));
	app->fs.st = app->st;
	app->fs.ctl = app->ctl;
	app->fs.ctl_listed = app->opt.ctl == OPTIONS_CTL_VISIBLE;
	signals_serving(app->signals);
	r = mount_alone(app);
	if (r != 0)
		return r;
	app->mounted = true;
	cron.notify = app->notify;
	r = cron_new(&cron, &app->cron);
	return r == 0 ? 0 : fail(EXIT_MOUNT, "cannot start: %s", strerror(-r));
}

static int start(struct app *app)
{
	const struct signals_options sig = { on_early_signal, on_stop_signal,
					     on_save_signal, app };
	char error[DATADIR_ERROR_MAX];
	int r;

	r = daemon_init_files(app->opt.foreground);
	if (r < 0)
		return fail(EXIT_MOUNT, "cannot open /dev/null: %s",
			    strerror(-r));
	r = datadir_open(&app->dir, app->opt.datadir, app->opt.mountpoint,
			 error);
	if (r != 0)
		return fail(r, "%s", error);
	if (app->opt.fsname)
		app->fsname = strdup(app->opt.fsname);
	else if (asprintf(&app->fsname, "keyfs:%s", app->dir.path) < 0)
		app->fsname = NULL;
	if (!app->fsname)
		return fail(EXIT_MOUNT, "out of memory");
	r = daemon_fork(&app->daemon, app->opt.foreground);
	if (r < 0)
		return fail(EXIT_MOUNT, "cannot fork: %s", strerror(-r));
	log_set_plain(!app->opt.foreground);
	session_init_log();
	r = lock_datadir(app);
	if (r == 0)
		r = read_conf(app);
	if (r != 0)
		return r;
	r = signals_new(&sig, &app->signals);
	if (r < 0)
		return fail(EXIT_MOUNT, "cannot start: %s", strerror(-r));
	r = open_layers(app);
	if (r == 0)
		r = load(app);
	if (r == 0 && chdir("/") < 0)
		r = fail(EXIT_MOUNT, "cannot leave the working directory");
	if (r == 0)
		r = mount_session(app);
	return r;
}

/* --- end ----------------------------------------------------------------- */

/* Undoes as much of start() as was done. Return: an exit code. */
static int finish(struct app *app)
{
	int r;

	lockfile_set_state(&app->lock, "ending");
	signals_free(app->signals);
	cron_free(app->cron);
	/* It replies to what waits, so the session must be there. */
	ctl_free(app->ctl);
	notify_free(app->notify);
	/* Still there if the loop ended by an error or an aborted connection. */
	if (app->mounted && mountpoint_find(app->dir.mountpoint, app->fsname) &&
	    mountpoint_unmount(app->dir.mountpoint, true) < 0)
		log_msg(LOG_LV_WARNING, "fs: cannot detach %s",
			app->dir.mountpoint);
	/* Before the save: who still waits for an answer must not wait for it. */
	session_free(app->se);
	if (app->p && !app->mounted) /* half loaded: nothing to be saved */
		persist_set_save_points(app->p, NULL, 0);
	r = persist_close(app->p);
	if (r < 0)
		log_msg(LOG_LV_ERROR,
			"fs: the final save failed; what changed since the "
			"last good one is lost, error=%s",
			strerror(-r));
	transport_free(app->transport);
	fs_fini(&app->fs);
	conf_close(app->conf);
	store_free(app->st);
	if (app->mounted)
		log_msg(LOG_LV_INFO, "fs: ended, datadir=%s", app->dir.path);
	lockfile_release(&app->lock);
	datadir_close(&app->dir);
	options_fini(&app->opt);
	free(app->fsname);
	return r < 0 ? EXIT_SAVE : EXIT_OK;
}

static int serve(struct app *app)
{
	int r = transport_run(app->transport);

	if (r < 0)
		log_msg(LOG_LV_ERROR, "fs: reading requests failed, error=%s",
			strerror(-r));
	return r < 0 ? EXIT_MOUNT : EXIT_OK;
}

int main(int argc, char **argv)
{
	struct app app = {
		.dir = DATADIR_INIT,
		.daemon = { -1 },
		.lock = LOCKFILE_INIT,
	};
	char error[OPTIONS_ERROR_MAX];
	int code, end;

	if (options_parse(argc, argv, &app.opt, error) < 0)
		return fail(EXIT_USAGE, "%s; see keyfs --help", error);
	if (app.opt.version || app.opt.help) {
		if (app.opt.help)
			options_help(stdout);
		else
			(void)print_version();
		options_fini(&app.opt);
		return fflush(stdout) == 0 ? EXIT_OK : EXIT_USAGE;
	}
	fs_init(&app.fs);
	code = start(&app);
	if (code == 0)
		code = serve(&app);
	end = finish(&app);
	return code ? code : end;
}
