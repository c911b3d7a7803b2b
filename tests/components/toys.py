"""An environment made of files, by the tool ``commands``: instances, a balancer, a database.

``DESK`` is its folder. An instance is a file named by its id; the balancer is a file of weights with the turn in
its first line, and refuses an older one.
"""

from __future__ import annotations

CREATE = 'mkdir -p "$DESK/web"; echo "$CXLOCAL_VERSION" > "$DESK/web/$CXLOCAL_RESOURCE"'
REMOVE = 'rm -f "$DESK/web/$CXLOCAL_RESOURCE"'
OBSERVE = """
comma= ; printf '{"resources": [' > "$CXLOCAL_RESULT"
for one in "$DESK"/web/*; do
  test -f "$one" || continue
  printf '%s{"id": "%s", "version": "%s"}' "$comma" "${one##*/}" "$(cat "$one")" >> "$CXLOCAL_RESULT"
  comma=,
done
echo ']}' >> "$CXLOCAL_RESULT"
"""
ROTATE = """
turn=$(test ! -f "$DESK/lb" || head -n 1 "$DESK/lb")
test "$CXLOCAL_TURN" -ge "${turn:-0}" || { echo "turn $turn is written here"; exit 1; }
{ echo "$CXLOCAL_TURN"; echo "$CXLOCAL_WANTED"; } > "$DESK/lb.part"
mv "$DESK/lb.part" "$DESK/lb"
"""
WEIGHTS = """
comma= ; turn=0
printf '{"resources": [' > "$CXLOCAL_RESULT"
if test -f "$DESK/lb"; then
  turn=$(head -n 1 "$DESK/lb")
  for one in $(tail -n +2 "$DESK/lb"); do
    printf '%s{"id": "%s", "weight": %s}' "$comma" "${one%=*}" "${one#*=}" >> "$CXLOCAL_RESULT"
    comma=,
  done
fi
printf '], "turn": %s}' "$turn" >> "$CXLOCAL_RESULT"
"""
DRAIN = '! grep -q "$CXLOCAL_RESOURCE" "$DESK/lb"'
APPLY = """
echo "{\\"changed\\": true, \\"outputs\\": {\\"url\\": \\"file://$DESK/db\\"}}" > "$CXLOCAL_RESULT"
touch "$DESK/db"
"""
PREVIEW = 'test -f "$DESK/db" || echo "make the table orders"'

WEB = {"create": CREATE, "remove": REMOVE, "observe": OBSERVE}
LB = {"rotate": ROTATE, "drain": DRAIN, "observe": WEIGHTS}
DB = {"apply": APPLY, "preview": PREVIEW}


def table(verbs: dict[str, str]) -> str:
    """The ``with`` table of a component; braces are doubled, as single ones are placeholders."""
    lines = []
    for verb, command in verbs.items():
        doubled = command.replace("{", "{{").replace("}", "}}")
        lines.append(f"{verb} = '''{doubled}'''")
    return "\n".join(lines)


def component(name: str, verbs: dict[str, str], keys: str = "") -> str:
    """The tables of one component."""
    return (
        f'[components.{name}]\ntool = "commands"\npass_env = ["DESK"]\n{keys}\n'
        f"[components.{name}.with]\n{table(verbs)}\n"
    )


STAGES = """
[stages]
build = { command = "cp site.txt app.txt", produces = { app = "app.txt" } }
live = { kind = "deploy", environment = "production", needs = ["build"] }
[environments]
production = { protected = false }
"""
CONFIG = (
    STAGES
    + component("db", DB, "mutable = true")
    + component("lb", LB, "mutable = true")
    + component("web", WEB, 'artifact = "app"\ncount = 2\nneeds = ["db"]\nbehind = "lb"\n')
)
