local held = {}
for i = 1, #ARGV, 4 do
  local epoch, _, by = read(ARGV[i])
  local mine = epoch == ARGV[i + 1] and by == ARGV[i + 3]
  if mine then write(ARGV[i], epoch, ARGV[i + 2], by) end
  held[#held + 1] = mine and 1 or 0
end
return held
