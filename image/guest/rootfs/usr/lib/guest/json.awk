# Flatten JSON to lines "path<TAB>value", the path joined by dots: {"a": [{"b": "c"}]} gives "a.0.b<TAB>c".
# Line breaks within strings become blanks. Fails (exit 1) on text that is not JSON.
{ text = text $0 "\n" }
END { blanks(); value(""); blanks(); exit failed || text != "" }

function blanks() { sub(/^[ \t\r\n]+/, "", text) }
function take(n,  head) { head = substr(text, 1, n); text = substr(text, n + 1); return head }
function fail() { failed = 1; text = ""; return "" }
function below(path, name) { return path == "" ? name : path "." name }

function value(path,  first) {
  first = substr(text, 1, 1)
  if (first == "{") object(path)
  else if (first == "[") list(path)
  else if (first == "\"") print path "\t" string()
  else if (match(text, /^(true|false|null|-?[0-9][-+.0-9eE]*)/)) print path "\t" take(RLENGTH)
  else fail()
}

function object(path,  name) {
  take(1); blanks()
  if (substr(text, 1, 1) == "}") { take(1); return }
  while (!failed) {
    blanks(); name = string(); blanks()
    if (take(1) != ":") return fail()
    blanks(); value(below(path, name)); blanks()
    if ((first_char = take(1)) == "}") return
    if (first_char != ",") return fail()
  }
}

function list(path,  n) {
  take(1); blanks()
  if (substr(text, 1, 1) == "]") { take(1); return }
  for (n = 0; !failed; n++) {
    blanks(); value(below(path, n)); blanks()
    if ((first_char = take(1)) == "]") return
    if (first_char != ",") return fail()
  }
}

function string(  raw) {
  if (!match(text, /^"([^"\\]|\\.)*"/)) return fail()
  raw = take(RLENGTH)
  raw = substr(raw, 2, length(raw) - 2)
  gsub(/[\r\n]/, " ", raw)
  return index(raw, "\\") ? unescape(raw) : raw
}

function unescape(raw,  done, at, c) {
  done = ""
  while (at = index(raw, "\\")) {
    done = done substr(raw, 1, at - 1)
    c = substr(raw, at + 1, 1)
    if (c == "u") { done = done codepoint(substr(raw, at + 2, 4)); raw = substr(raw, at + 6); continue }
    done = done (c ~ /[nrtbf]/ ? " " : c)
    raw = substr(raw, at + 2)
  }
  return done raw
}

# ASCII only; anything else becomes a question mark (nothing that the guest reads has it)
function codepoint(hex,  n, i) {
  for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(hex, i, 1))) - 1
  return n < 32 ? " " : n < 127 ? sprintf("%c", n) : "?"
}
