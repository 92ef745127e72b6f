/* From arguments to an exit code: 0 good, 1 the work failed, 2 wrong usage. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ground/config.h"
#include "ground/log.h"
#include "ground/version.h"
#include "net/able.h"
#include "net/certs.h"
#include "node.h"
#include "ops/command.h"

#define PATHS_MOST 64
#define CERTS_MOST 1000

static const char usage[] =
    "usage: throng run [OPTIONS] FILE [ARGS]    run the actor script FILE as the root of a node\n"
    "       throng run [OPTIONS] -m MODULE [ARGS]    the same with a module, by its require path\n"
    "       throng run [OPTIONS] --listen|--join ... no script: a node for what others spawn on it\n"
    "       throng bench [NAME] [OPTIONS]       measure actors; throng bench --help tells more\n"
    "       throng test [OPTIONS] [DIR|FILE...] run specs of actors; throng test --help tells more\n"
    "       throng repl [NODE]                  talk to a running node: Lua and commands, typed or from a pipe\n"
    "       throng eval [NODE] 'LUA' [--json]   evaluate there, print the values\n"
    "       throng COMMAND [NODE] ... [--json]  one of:\n"
    "           ps top tree info state inbox tasks why names groups node nodes memory\n"
    "           send ask spawn set stop kill gc reload rollback versions\n"
    "           log trace deadletters slow prof\n"
    "       throng certs DIR NODE...            make certificates for TLS between these nodes\n"
    "       throng help [COMMAND]               this, and the settings; or more of one COMMAND\n"
    "       throng version\n"
    "\n"
    "NODE is a node's name, or the path of its socket; without one, the only one that runs.\n"
    "--on NODE sends a command on to another node of the cluster, --all asks every node; a PID\n"
    "may be NAME@NODE, or <12.1@NODE>. reload --all changes all nodes, or none.\n"
    "\n"
    "options of run:\n"
    "  --name N           the node's name (letters, digits, _ and -)\n"
    "  --workers K        worker threads; 0 = one a core\n"
    "  --path DIR         look for modules in DIR, too; may be given again\n"
    "  --log LEVEL        debug, info (the default), warn, error or off\n"
    "  --watch            reload scripts when they are saved, and say what came of it\n"
    "  --console PATH     the console's socket, instead of NAME.sock in the run directory; off: none\n"
    "  --set KEY=VALUE    a setting, see below; may be given again\n"
    "  --listen HOST:PORT take connections from other nodes; port 0 = any that is free\n"
    "  --join HOST:PORT[,HOST:PORT]  be a member of the cluster that these nodes are of\n"
    "  --etcd URL[,URL]   members and names of the cluster are kept there, http://HOST:2379; for https:\n"
    "  --etcd-ca FILE, --etcd-cert FILE, --etcd-key FILE  who may be etcd, and who we are to it\n"
    "  --cluster NAME     the cluster's name, throng if not given; nodes of others are refused\n"
    "  --secret FILE      the cluster's secret; without it cluster.secret in the run directory\n"
    "  --tls-cert FILE --tls-key FILE --tls-ca FILE  connections are TLS; no secret is needed\n"
    "  --insecure         plain connections beyond loopback are fine\n"
    "  --can KEY=VALUE[,KEY=VALUE]  what this node can, for spawns that require it: gpu=true,zone=eu,cores=8\n"
    "  --own-files        run no code that other nodes send; they may spawn what is here in the same version\n"
    "\n"
    "ARGS are handed to the script's init as strings. Exit codes: what throng.shutdown was given,\n"
    "0 good, 1 the work failed, 2 wrong usage.\n";

static int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fputs("throng: ", stderr);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) /* what was typed stays on one line */
        fprintf(stderr, *c < ' ' || *c == 127 ? "\\x%02X" : "%c", *c);
    fputs(" ('throng help' shows what there is)\n", stderr);
    return 2;
}

static void print_setting(void *unused, const char *line) {
    (void)unused;
    printf("  %s\n", line);
}

static int help(void) {
    fputs(usage, stdout);
    fputs("\nsettings (k, m, g: times 1024, ...):\n", stdout);
    config_list(print_setting, NULL);
    return 0;
}

static int good_name(const char *name) {
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return len > 0 && len <= 64 && name[len] == '\0';
}

/* The value of the option `name` if argv[*at] is it, as "--name VALUE" or "--name=VALUE"; NULL if it is another.
 * *missing: it is that one, without a value. */
static const char *value_of(const char *name, int argc, char **argv, int *at, int *missing) {
    size_t len = strlen(name);
    if (strncmp(argv[*at], name, len) != 0) return NULL;
    if (argv[*at][len] == '=') return argv[*at] + len + 1;
    if (argv[*at][len] != '\0') return NULL;
    if (*at + 1 >= argc) {
        *missing = 1;
        return NULL;
    }
    return argv[++*at];
}

static int run(int argc, char **argv) {
    static const char *paths[PATHS_MOST];
    static char can[ABLE_TEXT_MAX + 1];
    NodeOptions o = {.log_level = LOG_INFO, .paths = paths};
    char err[512];
    bool module = false;
    int i = 0;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *option = argv[i], *value;
        int missing = 0;
        if (strcmp(option, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(option, "-m") == 0) { /* ends the options, as FILE does */
            module = true;
            i++;
            break;
        }
        if (strcmp(option, "--help") == 0) return help();
        if (strcmp(option, "--own-files") == 0) {
            o.own_files = true;
            continue;
        }
        if (strcmp(option, "--watch") == 0) {
            o.watch = true;
            continue;
        }
        if ((value = value_of("--name", argc, argv, &i, &missing)) != NULL) {
            if (!good_name(value)) return wrong("--name '%s': 1 to 64 letters, digits, _ and -", value);
            o.name = value;
        } else if ((value = value_of("--workers", argc, argv, &i, &missing)) != NULL) {
            char setting[128];
            snprintf(setting, sizeof setting, "workers=%s", value);
            if (config_set(&config, setting, err, sizeof err) < 0) return wrong("--workers '%s': %s", value, err);
        } else if ((value = value_of("--path", argc, argv, &i, &missing)) != NULL) {
            if (o.path_count == PATHS_MOST) return wrong("--path: at most %d of them", PATHS_MOST);
            paths[o.path_count++] = value;
        } else if ((value = value_of("--log", argc, argv, &i, &missing)) != NULL) {
            if (log_level_parse(value, &o.log_level) < 0)
                return wrong("--log '%s': one of debug, info, warn, error, off", value);
        } else if ((value = value_of("--console", argc, argv, &i, &missing)) != NULL) {
            if (*value == '\0') return wrong("--console wants the path of a socket, or off");
            o.console = value;
        } else if ((value = value_of("--set", argc, argv, &i, &missing)) != NULL) {
            if (config_set(&config, value, err, sizeof err) < 0) return wrong("--set: %s", err);
        } else if ((value = value_of("--listen", argc, argv, &i, &missing)) != NULL) {
            o.net.listen = value;
        } else if ((value = value_of("--join", argc, argv, &i, &missing)) != NULL) {
            o.net.join = value;
        } else if ((value = value_of("--cluster", argc, argv, &i, &missing)) != NULL) {
            if (!good_name(value)) return wrong("--cluster '%s': 1 to 64 letters, digits, _ and -", value);
            o.net.cluster = value;
        } else if ((value = value_of("--secret", argc, argv, &i, &missing)) != NULL) {
            o.net.secret = value;
        } else if ((value = value_of("--etcd", argc, argv, &i, &missing)) != NULL) {
            o.net.etcd = value;
        } else if ((value = value_of("--etcd-ca", argc, argv, &i, &missing)) != NULL) {
            o.net.etcd_ca = value;
        } else if ((value = value_of("--etcd-cert", argc, argv, &i, &missing)) != NULL) {
            o.net.etcd_cert = value;
        } else if ((value = value_of("--etcd-key", argc, argv, &i, &missing)) != NULL) {
            o.net.etcd_key = value;
        } else if ((value = value_of("--can", argc, argv, &i, &missing)) != NULL) {
            if (able_add(can, value, err, sizeof err) < 0) return wrong("--can %s", err);
            o.net.can = can;
        } else if ((value = value_of("--tls-cert", argc, argv, &i, &missing)) != NULL) {
            o.net.tls_cert = value;
        } else if ((value = value_of("--tls-key", argc, argv, &i, &missing)) != NULL) {
            o.net.tls_key = value;
        } else if ((value = value_of("--tls-ca", argc, argv, &i, &missing)) != NULL) {
            o.net.tls_ca = value;
        } else if (strcmp(option, "--insecure") == 0) {
            o.net.insecure = true;
        } else if (missing) {
            return wrong("option '%s' wants a value", option);
        } else {
            return wrong("unknown option '%s'", option);
        }
    }
    const char *no_tls = o.net.tls_cert == NULL ? "--tls-cert" : o.net.tls_key == NULL ? "--tls-key"
                         : o.net.tls_ca == NULL ? "--tls-ca" : NULL;
    if (no_tls != NULL && (o.net.tls_cert != NULL || o.net.tls_key != NULL || o.net.tls_ca != NULL))
        return wrong("%s is missing: TLS wants --tls-cert, --tls-key and --tls-ca", no_tls);
    bool serves = i >= argc && !module && (o.net.listen != NULL || o.net.join != NULL);
    if (i >= argc && !serves)
        return wrong(module ? "run: -m wants a module"
                            : "run: which FILE? (with --listen or --join none is needed: it is there for others then)");
    if (serves) o.module = "throng.serve", o.bare = true;
    else *(module ? &o.module : &o.file) = argv[i];
    o.args = argv + (serves ? i : i + 1);
    o.arg_count = serves ? 0 : argc - i - 1;
    if (o.arg_count > 250) return wrong("more than 250 arguments for the script");
    return node_run(&o);
}

/* What concerns the node is taken here, the rest is for lua/throng/test/main.lua. */
static int test(int argc, char **argv) {
    static const char *paths[PATHS_MOST];
    static char *rest[256];
    NodeOptions o = {.log_level = LOG_OFF, .paths = paths, .module = "throng.test.main", .args = rest, .tests = true,
                     .console = "off"}; /* nobody looks in: his requests would change what a seed replays */
    char err[256];
    config.workers = 1; /* so that a seed replays what it did */
    for (int i = 0; i < argc; i++) {
        const char *value;
        int missing = 0;
        if ((value = value_of("--workers", argc, argv, &i, &missing)) != NULL) {
            char setting[128];
            snprintf(setting, sizeof setting, "workers=%s", value);
            if (config_set(&config, setting, err, sizeof err) < 0) return wrong("--workers '%s': %s", value, err);
        } else if ((value = value_of("--path", argc, argv, &i, &missing)) != NULL) {
            if (o.path_count == PATHS_MOST) return wrong("--path: at most %d of them", PATHS_MOST);
            paths[o.path_count++] = value;
        } else if ((value = value_of("--log", argc, argv, &i, &missing)) != NULL) {
            if (log_level_parse(value, &o.log_level) < 0)
                return wrong("--log '%s': one of debug, info, warn, error, off", value);
        } else if ((value = value_of("--set", argc, argv, &i, &missing)) != NULL) {
            if (config_set(&config, value, err, sizeof err) < 0) return wrong("--set: %s", err);
        } else if (missing) {
            return wrong("option '%s' wants a value", argv[i]);
        } else if (o.arg_count == 250) {
            return wrong("test: more than 250 arguments");
        } else {
            rest[o.arg_count++] = argv[i];
        }
    }
    return node_run(&o);
}

static const char certs_usage[] =
    "usage: throng certs [--days N] DIR NODE...\n"
    "\n"
    "Makes what nodes with these names need for TLS among them: DIR/NODE.pem and DIR/NODE.key for each,\n"
    "signed by DIR/ca.pem and DIR/ca.key, an authority good for 10 years that is made if it is not there;\n"
    "more nodes can be added later. What is there already is kept. Keys are EC P-256, readable by you alone.\n"
    "\n"
    "  --days N           how long nodes' certificates are good: 1 to 3650 days, 825 if not given\n";

static int certs_help(void) {
    fputs(certs_usage, stdout);
    return 0;
}

static void tell_certs(const char *dir, char **names, int count, int days, const CertsMade *made) {
    printf("%s/ca.pem %s/ca.key  ", dir, dir);
    printf(made->authority ? "made: good for 10 years\n" : "there already\n");
    for (int i = 0; i < count; i++) {
        printf("%s/%s.pem %s/%s.key  ", dir, names[i], dir, names[i]);
        if (made->nodes[i]) printf("made: good for %d days\n", days);
        else printf("there already\n");
    }
    puts("\nEach node needs its own two files and ca.pem; ca.key signs further nodes, and belongs on none of them:");
    for (int i = 0; i < count; i++)
        printf("  throng run --name %s --tls-cert %s/%s.pem --tls-key %s/%s.key --tls-ca %s/ca.pem ...\n", names[i],
               dir, names[i], dir, names[i], dir);
}

static int certs(int argc, char **argv) {
    bool nodes[CERTS_MOST];
    CertsMade made = {.nodes = nodes};
    char err[1024];
    int days = CERTS_NODE_DAYS, i = 0, missing = 0;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *option = argv[i], *value;
        char *end;
        if (strcmp(option, "--help") == 0) return certs_help();
        if ((value = value_of("--days", argc, argv, &i, &missing)) == NULL)
            return wrong(missing ? "option '%s' wants a value" : "certs: unknown option '%s'", option);
        long n = strtol(value, &end, 10);
        if (*value == '\0' || *end != '\0' || n < 1 || n > CERTS_AUTHORITY_DAYS)
            return wrong("--days '%s': 1 to %d", value, CERTS_AUTHORITY_DAYS);
        days = (int)n;
    }
    if (argc - i < 2) return wrong("certs: which DIR, and which NODEs?");
    const char *dir = argv[i++];
    char **names = argv + i;
    int count = argc - i;
    if (count > CERTS_MOST) return wrong("certs: more than %d nodes at once", CERTS_MOST);
    for (int k = 0; k < count; k++) {
        if (!good_name(names[k])) return wrong("certs: node '%s': 1 to 64 letters, digits, _ and -", names[k]);
        if (strcmp(names[k], CERTS_AUTHORITY) == 0) return wrong("certs: a node '%s' would be the authority", names[k]);
        for (int n = 0; n < k; n++)
            if (strcmp(names[n], names[k]) == 0) return wrong("certs: node '%s' twice", names[k]);
    }
    if (certs_make(dir, names, count, days, &made, err, sizeof err) < 0) {
        fprintf(stderr, "throng: certs: %s\n", err);
        return 1;
    }
    tell_certs(dir, names, count, days, &made);
    return 0;
}

/* A program may be started with its standard files closed. The next ones opened would take their places, and what
 * is printed would go into a socket. */
static int hold_standard_files(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0) return -1;
    } while (fd <= STDERR_FILENO);
    close(fd);
    return 0;
}

int main(int argc, char **argv) {
    if (hold_standard_files() < 0) return 1;
    config_preset(&config);
    const char *command = argc > 1 ? argv[1] : NULL;
    if (command == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    if (strcmp(command, "run") == 0) return run(argc - 2, argv + 2);
    if (strcmp(command, "test") == 0) return test(argc - 2, argv + 2);
    if (strcmp(command, "certs") == 0) return certs(argc - 2, argv + 2);
    if (strcmp(command, "help") == 0 && argc == 3 && strcmp(argv[2], "certs") == 0) return certs_help();
    if (strcmp(command, "bench") == 0) return command_run("throng.bench", THRONG_VERSION, argv + 2, argc - 2);
    bool asks_help = strcmp(command, "help") == 0;
    if ((asks_help && argc == 2) || strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0) return help();
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("throng " THRONG_VERSION);
        return 0;
    }
    if (strspn(command, "abcdefghijklmnopqrstuvwxyz") == strlen(command) && *command != '\0')
        return command_run("throng.client", THRONG_VERSION, argv + 1, argc - 1); /* says so of words it does not know */
    return wrong("unknown command '%s'", command);
}
