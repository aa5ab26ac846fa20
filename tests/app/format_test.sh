#!/usr/bin/env bash
# Docs have lines of at most 120 characters. Every .cpp opens with what it is for. Every source is laid out as clang-format 14
# does it (.clang-format): majors differ, so where another one or none is installed this is skipped. To mend: clang-format -i FILE.
set -euo pipefail

# Lines of docs have at most 120 characters outside tables and code. In docs/measurements only README.md is held to it.
# docs/config_reference.md is not: `bittern config --reference` prints it.
python3 - "$SOURCE" <<'E2'
import pathlib, sys

source = pathlib.Path(sys.argv[1])
pages = [*source.glob("*.md"), *source.glob("configs/*.md"), *source.glob("docs/**/*.md")]
measured = source / "docs/measurements"
pages = [page for page in pages if page.name != "config_reference.md" and (page.parent != measured or page.name == "README.md")]
long, lines = [], 0
for page in pages:
    code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith("|"):
            lines += 1
            if len(line) > 120:
                long.append(f"{page.relative_to(source)}:{number}: {len(line)} characters; break the line at 120")
if long:
    sys.exit("\n".join(long))
if len(pages) < 15 or lines < 500:
    sys.exit(f"only {len(pages)} pages with {lines} lines were found")
print(f"docs: {lines} lines of {len(pages)} pages")
E2

# Every .cpp of src opens with a comment that says what the file is for.
silent=$(cd "$SOURCE" && find src -name '*.cpp' -exec awk 'FNR == 1 && !/^\/\/ / { print FILENAME }' {} +)
[ -z "$silent" ] || { echo "does not open with what it is for:" $silent; exit 1; }

formatter=
for name in clang-format-14 clang-format; do
  if command -v "$name" >/dev/null && "$name" --version | grep -q "version 14\."; then formatter=$name; break; fi
done
[ -n "$formatter" ] || { echo "SKIPPED: no clang-format 14"; exit 77; }
cd "$SOURCE"
find src include tests cuda \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) -print0 >"$OLDPWD/files"
count=$(tr -cd '\0' <"$OLDPWD/files" | wc -c)
[ "$count" -gt 300 ] || { echo "only $count sources were found"; exit 1; }
if ! xargs -0 "$formatter" --dry-run --Werror <"$OLDPWD/files" 2>"$OLDPWD/said"; then
  grep "error:" "$OLDPWD/said" | head -20
  echo "laid out otherwise: $(grep error: "$OLDPWD/said" | cut -d: -f1 | sort -u | tr '\n' ' '); to mend: $formatter -i FILE"
  exit 1
fi
echo "format: $count sources"
