#!/usr/bin/env bash
# Every command of README.md, of every page in docs, of configs/README.md and of every --help is run, in a folder that looks as it
# does after the quickstart, with a small model and few steps, or stands below in a list with the reason why not. A command that no
# longer works, that is not in the list, or a file that it should make and does not, is named.
set -euo pipefail
export PATH=$PWD/bin:$PATH
mkdir bin && ln -s "$BITTERN" bin/bittern
cp -r "$SOURCE/configs" .

python3 - "$SOURCE" <<'E2'
import pathlib, random, re, shutil, struct, subprocess, sys

source = pathlib.Path(sys.argv[1])
random.seed(1)
syllables = [a + b for a in "b d f g k l m n p r s t v z br st tr".split() for b in "a e i o u ai en or".split()]
words = ["".join(random.choice(syllables) for _ in range(random.randint(1, 4))) for _ in range(5000)]
text = "".join(" ".join(random.choice(words) for _ in range(9)) + ".\n" for _ in range(6000))
pathlib.Path("book.txt").write_text(text)

small = {"train": "model.hidden_size=32 model.num_hidden_layers=1 model.num_attention_heads=2 model.intermediate_size=48 "
                  "train.steps=3 train.batch_sequences=2 train.micro_batch_sequences=1 train.evaluate_sequences=2 "
                  "train.evaluate_every=3 train.sample_every=0 schedule.warmup_fraction=0"}
failures, ran = [], 0


def run(command, where):
    """As typed, but for train's model and length; what a command makes is removed first where it must be new."""
    global ran
    ran += 1
    tool = re.search(r"bittern (\w+)", command)[1]
    out = re.search(r"--out (\S+)", command)
    if out and tool in ("prepare", "export"):
        shutil.rmtree(out[1], ignore_errors=True)
    typed = command
    if tool == "train":
        command += "".join(" --set " + setting for setting in small["train"].split())
    if "--fork" in command:
        command += " --set train.steps=6"  # beyond the finished run that is forked
    if tool == "train" and re.search("--profile|--init", command) and not out:
        command += " --set run.name=another"  # a finished run has no step left to profile, and does not begin anew
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        failures.append(f"{where}: {typed}\n    ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    elif out and not pathlib.Path(out[1]).exists():
        failures.append(f"{where}: {typed}\n    did not make {out[1]}")
    elif tool in ("generate", "eval", "report", "config", "plan") and not done.stdout.strip():
        failures.append(f"{where}: {typed}\n    printed nothing")


# What the quickstart leaves, and what the examples name beside it.
for command in ("bittern prepare book.txt --out data/quickstart --vocab-size 4096",
                "bittern train configs/quickstart.json --out runs/quickstart",
                "bittern prepare book.txt --out data/book --vocab-size 4096",
                "bittern train configs/quickstart.json --set data.path=data/book --out runs/book",
                "bittern train configs/quickstart.json --set data.path=data/book --out runs/a",
                "bittern train configs/quickstart.json --set data.path=data/book --out runs/b"):
    run(command, "preparation")
shutil.copy("data/book/tokenizer.model", "llama2.model")
shutil.copy("data/book/tokenizer.model", "spiece.model")
for folder in ("c4", "llama2"):
    pathlib.Path(folder).mkdir()
shutil.copy("llama2.model", "llama2/tokenizer.model")
pathlib.Path("c4/a.jsonl").write_text("".join('{"text": "%s"}\n' % line for line in text.splitlines()))
subprocess.run(["zstd", "-q", "--rm", "c4/a.jsonl"], check=True)
if failures:
    sys.exit("\n".join(failures))

# Commands that are not run here, and why. A line that no document has any more is a failure as well.
elsewhere = {
    "scripts/quickstart": "tests/app/quickstart_test.sh runs it",
    "scripts/quickstart my_text.txt": "tests/app/quickstart_test.sh runs it with a text of one's own",
    'QUICKSTART_SET="train.steps=400" scripts/quickstart': "tests/app/quickstart_test.sh runs it with other settings",
    "scripts/perl_manual text": "scripts/quickstart runs it",
    "scripts/test": "this test is a part of it",
    "scripts/test --fuzz": "needs clang, and minutes",
    "scripts/test --quick": "this test is a part of it",
    "scripts/test --slow": "minutes; .ci/run runs it",
    "scripts/lint": "needs clang-tidy, and minutes",
    "scripts/install_dependencies --test": "tests/app/install_dependencies_test.sh runs it",
    "scripts/install_dependencies --mpi": "tests/app/install_dependencies_test.sh asks it for what it would install",
    "bittern --version": "tests/app/cli_test.sh runs it",
    "cmake --preset test": "scripts/test runs it",
    "cmake --install": "tests/app/package_test.sh makes a package of what it installs",
    "ctest --test-dir build/test -R ops/bias_test --output-on-failure": "scripts/test runs all of them",
    "scripts/machine_table": "it is run below, with this program",
    "scripts/same_bits COMMIT": "builds for minutes; tests/app/same_bits_test.sh runs it with a program that is there",
    "scripts/reproduce eco --smoke": "twenty minutes and more; tests/app/reproduce_test.sh runs it with fewer rows and steps",
    "scripts/reproduce frontier": "an hour and more; tests/app/reproduce_test.sh runs reproduce with fewer rows and steps",
    "scripts/reproduce PAPER --mini": "twenty minutes and more; tests/app/reproduce_test.sh runs it with fewer rows and steps",
    "scripts/reproduce PAPER": "twenty minutes and more; tests/app/reproduce_test.sh runs it with fewer rows and steps",
    "scripts/reproduce adam4bit --size 7b_finetune --data DIR --init FOLDER": "a model of 7B; reproduce_test.sh runs it with a program of its own",
    "scripts/reproduce solo --size 7b_finetune --data DIR --init FOLDER": "a model of 7B; reproduce_test.sh runs it with a program of its own",
    "scripts/reproduce eco_int4 --size int4 --data DIR --init FOLDER": "a model of 2B; reproduce_test.sh runs it with a program of its own",
    "scripts/recipe_table FOLDER... --range -0.05 0.25 --picture FILE": "needs the folders of finished reproductions",
    "scripts/gpu_check": "needs a GPU",
    "cmake --preset bench && cmake --build --preset bench": "builds for minutes; scripts/test configures the preset",
    "build/bench/prepare_bench TEXT 4096": "a benchmark",
    "build/bench/attention_bench --threads 1 --cpu-time --seconds 0.1": "a benchmark",
    "tests/bench/prepare_memory.sh PROGRAM 1.0": "a benchmark, of gigabytes",
    "tensorboard --logdir RUN/tensorboard": "another program; tests/train/tensorboard_test.cpp compares the file byte for byte",
}

# The placeholders of a synopsis, and what stands for them. The longer first: RUN is also a part of RUN...
places = [("TEXT...", "book.txt"), ("RUN...", "runs/a runs/b"), ("CONFIG", "configs/quickstart.json"),
          ("FILE", "configs/quickstart.json"), ("RUN", "runs/quickstart"), ("FOLDER", "runs/quickstart"), ("DATA", "data/book")]


def filled(command):
    command = re.sub(r"--out DIR", "--out exported" if " export " in command else "--out data/book", command)
    command = command.replace("DIR", "data/book")
    if row := re.search(r"(configs/\S+/)ROW\.json", command):  # a row of a table: the first
        first = sorted(path.name for path in pathlib.Path(row[1]).glob("*.json") if path.stem not in ("base", "recipe"))[0]
        command = command.replace(row[0], row[1] + first)
    for name, value in places:
        command = re.sub(r"(?<![\w./])" + re.escape(name) + r"(?![\w.])", value, command)
    if re.match(r"bittern train .*--out runs/quickstart ", command) and "statistics_every" in command:
        command = command.replace("--out runs/quickstart ", "--out runs/statistics ")  # a run of its own
    return command


commands = []
programs = r"((\w+=\S+ )*(bittern|build/\S+|scripts/\w+|tests/\S+|cmake|ctest|python3?|pip|git|tensorboard)(?= |$))"
documents = [source / "README.md", *sorted((source / "docs").rglob("*.md")), source / "configs/README.md"]
for document in documents:
    fenced, prose = False, ""
    for number, line in enumerate(document.read_text().splitlines(), 1):
        where = f"{document.relative_to(source)}:{number}"
        if line.startswith("```"):
            fenced = not fenced
        elif fenced and re.match(r"(\$ )?" + programs, line):
            command = re.sub(r"^\$ ", "", line)
            command = re.split(r"\s+#|\s{3,}(?=[^-\s])", command.replace("build/release/", ""))[0].rstrip()
            # In a synopsis, columns: `bittern plan     CONFIG        what it does`.
            if re.match(r"bittern \w+ {2,}", line):
                command = re.split(r"\s{3,}(?=\S)", re.sub(r"^(bittern \w+) +", r"\1 ", line))[0]
                command = re.sub(r"\s+#.*", "", command)
            commands.append((command, where))
        if not fenced:
            prose += line + "\n"
    # In the text: what has an argument (`bittern plan` alone is the name of a command), or is a script that needs none.
    for span in re.findall(r"`([^`]+)`", prose.replace("```", "")):
        span = " ".join(span.split())
        if re.match(programs, span) and (span in elsewhere or re.match(r"((\w+=\S+ )*\S+) \S", span)) and not re.fullmatch(r"bittern \w+|\S+\.(cpp|py|sh|md)", span):
            commands.append((span, str(document.relative_to(source))))
for name in ("", "prepare", "train", "plan", "eval", "generate", "export", "report", "config"):
    shown = subprocess.run(f"bittern {name} --help", shell=True, capture_output=True, text=True, check=True).stdout
    examples = re.findall(r"^  (bittern \w+ .*)$", shown, re.M)
    if not examples:
        failures.append(f"bittern {name} --help shows no example")
    commands += [(example, f"bittern {name} --help") for example in examples]

subcommands = set()
for command, where in commands:
    if command in elsewhere:
        script = re.search(r"(scripts|tests)/\S+", command)
        if script and not (source / script[0]).is_file():
            failures.append(f"{where}: {command}\n    there is no such script")
    elif command.startswith("bittern "):
        subcommands.add(command.split()[1])
        run(filled(command), where)
    else:
        failures.append(f"{where}: {command}\n    is run by no test: run it, or say why not in tests/app/readme_test.sh")
for command in elsewhere.keys() - {command for command, _ in commands}:
    failures.append(f"tests/app/readme_test.sh has a reason not to run `{command}`, which no document shows")
if len(subcommands) != 8:
    failures.append(f"only {sorted(subcommands)} are shown anywhere: were the commands found?")

# What the guide says in words: data of llm.c's kind, weights to begin from.
ids = [i * 7 % 4096 for i in range(20000)]
pathlib.Path("tokens.bin").write_bytes(struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253) + struct.pack(f"<{len(ids)}H", *ids))
run("bittern train configs/quickstart.json --out runs/llmc --set data.path=tokens.bin --set model.vocab_size=4096", "llm.c")
run("bittern export runs/book --out exported", "export")
run("bittern train configs/quickstart.json --out runs/init --init exported --set model.vocab_size=4096", "--init")

# A reader that has seen enough is quiet and no failure.
run("set -o pipefail; bittern generate runs/quickstart --prompt The --tokens 20 | { read -rn 1 first; echo $first; }", "generate into a pipe")

# The table of the guide is the one that its script makes, but for what scratch memory differs from CPU to CPU.
def table_rows(text):
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| (?:config |`configs/(?:base|eco)/).*$", text, re.M) if "FLOP/s" in row or row.count("GiB") == 2]


made = subprocess.run([source / "scripts/machine_table", shutil.which("bittern")], capture_output=True, text=True)
printed = table_rows((source / "docs/guide.md").read_text())
for there, here in zip(printed, table_rows(made.stdout), strict=True):
    for a, b in zip(there, here, strict=True):
        number = re.match(r"[\d.,]+", a)
        other = re.match(r"[\d.,]+", b)
        near = number and other and abs(float(number[0].replace(",", "")) / float(other[0].replace(",", "")) - 1) < 0.05
        if a != b and not (near and a[number.end():] == b[other.end():]) and not {a, b} <= {"0.1 GiB", "0.2 GiB"}:
            failures.append(f"docs/guide.md says {a} where scripts/machine_table now says {b}")
if len(printed) < 5:
    failures.append(f"docs/guide.md has no table of scripts/machine_table: {printed} {made.stderr}")

# The files that the guide lists are there.
guide = (source / "docs/guide.md").read_text()
for name in ("config.json", "metrics.jsonl", "tensorboard", "report.html", "log.txt", "heartbeat.json", "checkpoints"):
    if name not in guide:
        failures.append(f"docs/guide.md does not say what RUN/{name} is")
    if not pathlib.Path("runs/quickstart", name).exists():
        failures.append(f"docs/guide.md lists RUN/{name}, which a run does not make")
# Links lead to files.
for document in documents:
    for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        if not (document.parent / link).exists():
            failures.append(f"{document.relative_to(source)}: the link {link} leads nowhere")

if failures:
    sys.exit("\n".join(failures) + f"\n{len(failures)} of {ran} commands failed")
print(f"{ran} commands of the documentation work as typed")
E2
