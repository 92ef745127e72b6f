# Throng. `make help` lists what can be made; what is missing on Debian is installed first (tools/install-deps).
#   CC=clang         another compiler            VARIANT=asan|tsan|fuzz  a build of its own, in build/VARIANT
#   LTO=             no link time optimization   WERROR=                 warnings are only warnings
#   V=1              show whole commands
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS       ?= -O2 -g
WERROR       ?= -Werror
LTO          ?= $(if $(VARIANT)$(findstring clang,$(CC)),,-flto=auto -flto-partition=one)
PREFIX       ?= /usr/local
FUZZ_SECONDS ?= 60
SPEC_SLOW    ?= $(if $(VARIANT),10,1)

B       := build$(addprefix /,$(VARIANT))
PROGRAM := $(if $(VARIANT),$(B)/throng,throng)

CORE  := $(wildcard core/*.c core/*/*.c)
# compiled into the program: what actors require, the workloads of `throng bench`, the console's client
LUA   := $(shell find lua tools/bench tools/client -name '*.lua' -not -path 'lua/meta/*' -not -path '*/peers/*' \
           -not -name 'report*' | LC_ALL=C sort)
# ... and what `throng test` runs specs with, from Debian's lua-busted and what it needs; their licence: LICENSE
BUSTED := /usr/share/lua/5.1
BUSTED_LUA := $(addprefix $(BUSTED)//, $(addsuffix .lua, \
  $(addprefix busted/, init block compatibility context core environment execute fixtures status utils languages/en \
    modules/filter_loader modules/output_handler_loader \
    $(addprefix outputHandlers/, base gtest junit plainTerminal TAP utfTerminal)) \
  $(addprefix luassert/, init array assert assertions compatibility match mock modifiers namespaces spy state stub util \
    formatters/init formatters/binarystring languages/en matchers/init matchers/composite matchers/core) \
  $(addprefix pl/, class compat lexer List Map path pretty stringx tablex types utils xml) \
  mediator say/init term/colors))
DOORS := $(wildcard spec/door/*.c)
FUZZ  := $(wildcard tools/fuzz/*.c)
CORE_OBJECTS := $(CORE:%.c=$(B)/%.o) $(B)/embedded.o
DOOR_OBJECTS := $(DOORS:%.c=$(B)/%.o)
# what specs and fuzz targets link: all but the file with the program's own main()
HOUSE := $(filter-out $(B)/core/main.o,$(CORE_OBJECTS))

FLAGS_      = -fno-plt -fno-semantic-interposition -falign-functions=64 $(LTO)
FLAGS_asan  = -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan  = -fno-omit-frame-pointer -fsanitize=thread
# The macro is gcc's: with it our pools leave every block to malloc, where the sanitizer sees its ends.
FLAGS_fuzz  = -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
              -D__SANITIZE_ADDRESS__=1
WARNINGS    = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings $(WERROR)
# Hidden: a C module's own symbols can't be mistaken for ours. Lua's API stays visible, for C modules find it in us.
LANGUAGE    = -std=c11 -D_GNU_SOURCE -Icore -I$(B) $(shell pkg-config --cflags lua5.4 libuv openssl)
COMPILE     = $(CC) $(LANGUAGE) $(WARNINGS) -fPIE -fvisibility=hidden $(CPPFLAGS) $(CFLAGS) $(FLAGS_$(VARIANT))
LINK        = $(CC) $(WARNINGS) -pie -Wl,-z,relro,-z,now $(CFLAGS) $(FLAGS_$(VARIANT)) $(LDFLAGS)
# Lua lies first, so that where its hot functions are does not change with the size of ours: that was up to 8 % of
# what a message costs.
LUALIB      = -Wl,-E -Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive
LIBS        = -l:liblua5.4-cjson.a $(EDIT) -luv -lm -lpthread -ldl $(LDLIBS)

# libedit with what it needs, for the console's client: static, as the rest need not wait for it at their start
EDIT        = -l:libedit.a -l:libbsd.a -l:libmd.a -l:libtinfo.a -Wl,--exclude-libs,libedit.a:libbsd.a:libmd.a:libtinfo.a

.PHONY: all run test test-cluster bench bench-peers lint asan tsan valgrind fuzz install uninstall clean help deps FORCE
.DELETE_ON_ERROR:

all: $(PROGRAM) ## build ./throng (the default)

run: $(PROGRAM) ## run the world: 1 region, 3 guys, 1 Hz; ARGS='--regions 4' to change it
	./$(PROGRAM) run actors/world.lua $(ARGS)

test: $(PROGRAM) $(B)/specs ## run the specs; T=spec/mail for a file or folder, SEED=n for the same random numbers
	@$(SPEC_ENV) $(WRAP) $(B)/specs $(or $(T),$(filter-out %/cluster/ %/door/ %/support/,$(wildcard spec/*/)))

test-cluster: $(PROGRAM) $(B)/specs ## run the specs of several nodes under faults, minutes; T=spec/cluster/x_spec.lua, VARIANT=asan
	@$(SPEC_ENV) $(ROOTLIKE) $(WRAP) $(B)/specs $(or $(T),spec/cluster)

asan tsan: ## build with gcc's address and undefined, or thread, sanitizer in build/ and run the specs with it
	@$(MAKE) --no-print-directory VARIANT=$@ test

valgrind: deps ## run the specs and their programs under valgrind; T= as for test
	@$(MAKE) --no-print-directory test SPEC_SLOW=40 \
	  WRAP='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes'

bench: $(PROGRAM) ## run all benchmarks and write build/bench/report.html; BENCH='tick --repeat 3' for less
	@mkdir -p build/bench
	./$(PROGRAM) bench $(BENCH) --save build/bench/bench.json
	tools/bench/report build/bench/report.html build/bench/bench.json $(wildcard build/bench/peers.json)

bench-peers: $(PROGRAM) deps ## the same work by Erlang and CAF, alternating with ours; PEERS='--repeat 3 --only tick,ask'
	@mkdir -p build/bench
	tools/bench/peers/run --throng ./$(PROGRAM) --out build/bench/peers.json $(PEERS)
	$(if $(wildcard build/bench/bench.json),tools/bench/report build/bench/report.html build/bench/bench.json build/bench/peers.json)

lint: deps $(B)/embedded.c $(B)/doors.h ## check floors, Lua, C with gcc and clang, shell scripts, line lengths
	lua5.4 tools/floors
	luacheck -q lua actors spec tools tools/floors tools/bench/report tools/bench/peers/run
	for cc in gcc clang; do \
	  $$cc -fsyntax-only -O2 $(LANGUAGE) $(WARNINGS) $(CORE) $(DOORS) $(FUZZ) $(B)/embedded.c || exit 1; done
	for script in .ci/run tools/install-deps; do bash -n $$script || exit 1; done
	! LC_ALL=C.UTF-8 grep -rnE '.{121}' --include='*.[ch]' --include='*.lua' --include='*.cpp' --include='*.erl' \
	  core lua actors tools tools/floors tools/bench/report tools/bench/peers/run spec/door

fuzz: ## fuzz what reads foreign bytes, FUZZ_SECONDS (60) for each target; finds go to build/fuzz
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-all

install: $(PROGRAM) ## install to DESTDIR/PREFIX (/usr/local): program, manual, Lua files, the world, texts
	install -Dm755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/throng
	install -Dm644 tools/throng.1 $(DESTDIR)$(PREFIX)/share/man/man1/throng.1
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/throng README.md LICENSE
	find lua actors -name '*.lua' -exec install -Dm644 {} $(DESTDIR)$(PREFIX)/share/throng/{} \;

uninstall: ## take away what install put there
	rm -rf $(DESTDIR)$(PREFIX)/share/throng $(DESTDIR)$(PREFIX)/share/doc/throng
	rm -f $(DESTDIR)$(PREFIX)/bin/throng $(DESTDIR)$(PREFIX)/share/man/man1/throng.1

clean: ## remove all that was built
	rm -rf build throng

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

SPEC_ENV = THRONG=./$(PROGRAM) $(if $(WRAP),THRONG_WRAP='$(WRAP)') SPEC_SLOW=$(SPEC_SLOW) $(if $(SEED),SEED=$(SEED)) \
           UBSAN_OPTIONS=print_stacktrace=1 $(SETARCH_$(VARIANT))
# gcc 12's thread sanitizer does not know the wide address randomization of newer kernels.
SETARCH_tsan = $(shell setarch -R true 2>/dev/null && echo setarch -R)
# Network namespaces want root, or a user namespace that has one: where neither is allowed, specs that need them are skipped.
ROOTLIKE = $(shell [ "$$(id -u)" = 0 ] || { unshare -r true 2>/dev/null && echo unshare -r; })

# ---- how things are built ----

show = $(if $(V),,@echo "$(1) $@"; )

PURPOSES := run $(filter test lint valgrind,$(MAKECMDGOALS)) $(filter clang,$(CC)) \
            $(if $(filter bench-peers,$(MAKECMDGOALS)),peers) $(if $(filter test-cluster,$(MAKECMDGOALS)),cluster)
deps:
	@tools/install-deps $(PURPOSES)

$(PROGRAM): $(CORE_OBJECTS) $(B)/inputs
	$(call show,link)$(LINK) -o $@ $(LUALIB) $(CORE_OBJECTS) $(LIBS)

$(B)/specs: $(HOUSE) $(DOOR_OBJECTS) $(B)/inputs
	$(call show,link)$(LINK) -o $@ $(LUALIB) $(HOUSE) $(DOOR_OBJECTS) $(LIBS)

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call show,compile)$(COMPILE) -MMD -MP -c -o $@ $<

$(B)/%.o: $(B)/%.c $(B)/flags
	$(call show,compile)$(COMPILE) -MMD -MP -c -o $@ $<

$(B)/spec/door/main.o: $(B)/doors.h

$(B)/embedded.c: tools/embed.lua $(LUA) $(B)/inputs
	$(call show,embed)lua5.4 tools/embed.lua $@ $(LUA) $(BUSTED_LUA)

# Files that change only when what they hold does: other flags, a file added or taken away, a new door.
keep = @mkdir -p $(B); printf '%s\n' $(1) | cmp -s - $@ || printf '%s\n' $(1) >$@
$(B)/flags: FORCE | deps
	$(call keep,'$(COMPILE)')
$(B)/inputs: FORCE | deps
	$(call keep,'$(LINK) $(LUALIB) $(LIBS)' $(CORE) $(DOORS) $(LUA))
$(B)/doors.h: FORCE
	$(call keep,$(patsubst spec/door/%.c,'DOOR(%)',$(filter-out spec/door/main.c,$(DOORS))))

# Each tools/fuzz/NAME.c is a libFuzzer target; tools/fuzz/NAME/ holds its first inputs, if there are any.
FUZZERS := $(FUZZ:tools/fuzz/%.c=$(B)/fuzz-%)
.PHONY: fuzz-all $(FUZZERS:%=%-run)
fuzz-all: $(FUZZERS:%=%-run)
$(FUZZERS): $(B)/fuzz-%: $(B)/tools/fuzz/%.o $(HOUSE) $(B)/inputs
	$(call show,link)$(LINK) -fsanitize=fuzzer -o $@ $(LUALIB) $< $(HOUSE) $(LIBS)
$(FUZZERS:%=%-run): $(B)/fuzz-%-run: $(B)/fuzz-%
	@mkdir -p $(B)/corpus/$*
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	  -artifact_prefix=$(B)/found-$*- $(B)/corpus/$* $(wildcard tools/fuzz/$*/)

-include $(CORE_OBJECTS:.o=.d) $(DOOR_OBJECTS:.o=.d) $(FUZZ:%.c=$(B)/%.d)
