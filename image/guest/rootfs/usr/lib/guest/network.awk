# Turn a flattened network_data.json into lines "MAC VERB ARGUMENTS": mtu, address, route, address6, route6, dns.
{
  split($1, path, ".")
  value[$1] = $2
  if (path[1] == "links" && path[3] == "id") link[$2] = "links." path[2]
  if (path[1] == "networks" && path[2] + 1 > networks) networks = path[2] + 1
  if (path[1] == "networks" && path[3] == "routes" && path[4] + 1 > routes[path[2]]) routes[path[2]] = path[4] + 1
  if (path[1] == "services" && path[2] + 1 > services) services = path[2] + 1
}

END {
  for (n = 0; n < networks; n++) network("networks." n, routes[n])
  for (n = 0; n < services; n++)
    if (value["services." n ".type"] == "dns" && mac != "") print mac, "dns", value["services." n ".address"]
}

function network(at, count,  type, owner, address, six, r) {
  type = value[at ".type"]
  address = value[at ".ip_address"]
  if (address == "" || (type != "ipv4" && type != "ipv6" && type != "ipv6_dhcpv6-stateful")) return
  six = type == "ipv4" ? "" : "6"
  owner = link[value[at ".link"]]
  mac = value[owner ".ethernet_mac_address"]
  if (mac == "") return
  if (value[owner ".mtu"] + 0 > 0) print mac, "mtu", value[owner ".mtu"]
  print mac, "address" six, address ~ /\// ? address : address "/" prefix(value[at ".netmask"])
  if (value[at ".gateway"] != "") print mac, "route" six, "default", value[at ".gateway"]
  for (r = 0; r < count; r++) route(at ".routes." r, six)
}

function route(at, six) {
  print mac, "route" six, value[at ".network"] "/" prefix(value[at ".netmask"]), value[at ".gateway"]
}

# "255.255.0.0", "ffff:ffff::" or "16" to a prefix length
function prefix(mask,  part, n, i, bits) {
  if (mask ~ /^[0-9]+$/) return mask
  if (mask ~ /:/) {
    gsub(/:/, "", mask)
    for (i = 1; i <= length(mask); i++) bits += ones(index("0123456789abcdef", tolower(substr(mask, i, 1))) - 1)
    return bits + 0
  }
  n = split(mask, part, ".")
  for (i = 1; i <= n; i++) bits += ones(part[i])
  return n == 4 ? bits + 0 : 24
}

function ones(number,  n) {
  for (n = 0; number > 0; number = int(number / 2)) n += number % 2
  return n
}
