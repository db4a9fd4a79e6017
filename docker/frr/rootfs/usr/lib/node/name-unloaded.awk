# Turns the output of unloaded.awk into messages, one for a section and all lines in it.
BEGIN { FS = "\t" }

function flush_message() {
  if (line == "") return
  messages++
  if (messages > 20) return
  gsub(/[^ -~]/, "?", header)
  printf "frr.conf, line %s: \"%.70s\"%s not in force, but kept: %s\n", line, header,
    more ? " and " more " more are" : " is", reason
}

{
  path = $0
  sub(/^[^\t]*\t[^\t]*\t/, "", path)
  if (line != "" && ($2 == "-" || $2 == reason) && index(path, section "\t") == 1) { more++; next }
  flush_message()
  line = $1; reason = $2; header = $NF; section = path; more = 0
}
END {
  flush_message()
  if (messages > 20) print "frr.conf: and " messages - 20 " more lines are not in force, but kept"
}
