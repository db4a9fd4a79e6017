# Finds the lines of a configuration that FRR does not load. Input, each after an assignment of `part`:
#   0  blocks to skip, as below
#   1  the report of `vtysh -C` with NODE_LINES set (docker/frr/adapt-vtysh says what is in it)
#   2  the configuration
#   3  the lines that a daemon refused: LINE DAEMON
#   4  the lines that a daemon refused together, by their text
# Variables: running (the daemons that run, between blanks); may_skip (1 if the report can be made again); doubt (1 if
# mgmtd may have refused what it was given: it takes all or nothing, and does not say so).
#
# Output, for each such line, with tabs between:
#   LINE REASON PATH…    PATH is the sections that the line is in, from the outermost, and then the line itself
# or, if a refused line opens a section, so that its `exit` would leave another one:
#   skip FROM TO         the report has to be made again without these lines (they are comments then)

function indent_of(text) { match(text, /^[ \t]*/); return RLENGTH }

function trimmed(text) { gsub(/\t/, " ", text); sub(/^ +/, "", text); sub(/ +$/, "", text); return text }

# after(LINE): the node in which the next line is read.
function after(line) { return (line + 1 in before) ? before[line + 1] : node[line] }

# close_to(NODE): leaves sections until NODE is the innermost.
function close_to(wanted) { while (depth > 0 && section_node[depth] != wanted) depth-- }

function is_open(wanted,   i) {
  for (i = depth; i > 0; i--) if (section_node[i] == wanted) return 1
  return wanted == base
}

function print_unloaded(line, reason, levels,   i, path) {
  for (i = 1; i <= levels; i++) path = path "\t" section[i]
  print line "\t" reason path "\t" trimmed(text[line])
}

# why_off(LINE): the daemons that the line is for, if none of them runs.
function why_off(line,   names, count, i) {
  count = split(daemons[line], names, " ")
  for (i = 1; i <= count; i++) if (index(running, " " names[i] " ")) return ""
  if (count > 2) return names[1] " and others that know it are not in protocols"
  return (count == 2 ? names[1] " and " names[2] " are" : names[1] " is") " not in protocols"
}

function is_exit(line) { return trimmed(text[line]) ~ /^(exit|quit)/ }

# block_end(LINE): the last line of the indented block below a refused line, or the `exit` that closes it; 0 if there is
# none.
function block_end(line,   i, indent, last) {
  indent = indent_of(text[line])
  for (i = line + 1; i <= lines; i++) {
    if (trimmed(text[i]) ~ /^([!#].*)?$/) continue
    if (indent_of(text[i]) <= indent) return last && indent_of(text[i]) == indent && is_exit(i) ? i : last
    last = i
  }
  return last
}

# judge(LINE): follows the sections, and prints the line if it is not loaded.
function judge(line,   words, next_node, reason) {
  words = trimmed(text[line])
  if (words ~ /^[!#]/ || words == "" || words == "end" || !(line in result)) return
  if (result[line] != 0 && result[line] != 10) {
    if (may_skip && block_end(line)) { print "skip\t" line "\t" block_end(line); exit }
    print_unloaded(line, "this FRR does not know it there", indent_of(text[line]) ? depth : 0)
    return
  }
  close_to(node[line])
  next_node = after(line)
  if (is_exit(line)) { close_to(next_node); return }
  if (result[line] == 0) {
    if (words !~ /^(hostname |(no )?service integrated-vtysh-config|configure)/)
      print_unloaded(line, "FRR does nothing with it", depth)
  } else if (line in refused) print_unloaded(line, refused[line] " refused it", depth)
  else if (words in refused_text) print_unloaded(line, "a daemon refused it, see above", depth)
  else if (doubt && next_node == node[line] && daemons[line] ~ /(^| )mgmtd( |$)/)
    print_unloaded(line, "mgmtd refused it, with other lines", depth)
  else if ((reason = why_off(line)) != "") print_unloaded(line, reason, depth)
  if (next_node != node[line] && !is_open(next_node)) {
    section[++depth] = words
    section_node[depth] = next_node
  }
}

# keep_block(LINE): prints a skipped block: its first line, and the others as lines in it, whatever they are.
function keep_block(line,   last, words, indent) {
  last = skipped[line]
  indent = indent_of(text[line])
  if (indent) close_to(before[line])
  else depth = 0
  section[depth + 1] = trimmed(text[line])
  print_unloaded(line, "this FRR does not know it there", depth)
  while (++line <= last) {
    words = trimmed(text[line])
    if (words !~ /^([!#].*)?$/ && indent_of(text[line]) > indent) print_unloaded(line, "-", depth + 1)
  }
  return last
}

part == 0 { skipped[$2] = $3 }
part == 1 && /^[0-9]+ [0-9]+ [0-9]+ [0-9]+/ {
  before[$1] = $2; result[$1] = $3; node[$1] = $4
  if ($1 == 1) base = $2
  daemons[$1] = $5
  for (i = 6; i <= NF; i++) daemons[$1] = daemons[$1] " " $i
}
part == 2 { text[lines = FNR] = $0 }
part == 3 { refused[$1] = $2 }
part == 4 { refused_text[trimmed($0)] = 1 }
END {
  for (line = 1; line <= lines; line++)
    if (line in skipped) line = keep_block(line)
    else judge(line)
}
