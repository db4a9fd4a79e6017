# Prints a configuration that FRR has saved (part=2), and at its end the lines of unloaded.awk (part=1) that are not in
# it, in their sections. Writes to the file `note` how many there are, and the first of them, if there are any.
# With only_absent=1, prints nothing but those lines as they are in the input.

function trimmed(text) { sub(/^[ \t]+/, "", text); sub(/[ \t]+$/, "", text); return text }

# note_saved TEXT: remembers a saved line with its sections. FRR indents each level by one blank.
function note_saved(text,   indent, i, path) {
  match(text, /^ */); indent = RLENGTH
  at[indent] = trimmed(text)
  for (i = 0; i <= indent; i++) if (i in at) path = path "\t" at[i]
  is_saved[path] = 1
  for (i in at) if (i + 0 > indent) delete at[i]
}

function out(level, text) { printf "%*s%s\n", level - 1, "", text }

# add PATH…: prints a line, and opens the sections before it that are not open.
function add(path,   levels, count, i, common) {
  count = split(substr(path, 2), levels, "\t")
  for (common = 0; common < count - 1 && common < shown && levels[common + 1] == last[common + 1]; common++);
  for (i = shown - 1; i > common; i--) out(i, "exit")
  for (i = common + 1; i <= count; i++) { out(i, levels[i]); last[i] = levels[i] }
  shown = count
}

part == 1 {
  path = $0
  sub(/^[^\t]*\t[^\t]*/, "", path)
  kept[++lines] = path
  record[lines] = $0
  next
}
/^end$/ { next }
{ note_saved($0); if (!only_absent) print }
END {
  if (only_absent) {
    for (i = 1; i <= lines; i++) if (!(kept[i] in is_saved)) print record[i]
    exit
  }
  for (i = 1; i <= lines; i++) {
    if (kept[i] in is_saved) continue
    if (!added++) first = substr(kept[i], 2)
    add(kept[i])
  }
  for (i = shown - 1; i > 0; i--) out(i, "exit")
  print "end"
  gsub(/\t/, " / ", first)
  gsub(/[^ -~]/, "?", first)
  if (added) printf "%d %s\n", added, first > note
}
