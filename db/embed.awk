# embed.awk - turns db/sql/NNN_*.sql, in order, into the C array that open.c runs.
BEGIN { print "/* made from db/sql/ by db/embed.awk */\nstatic const char *const db_migrations[] = {" }
FNR == 1 && NR > 1 { print "," }
/^--/ { next }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); printf "\t\"%s\\n\"\n", $0 }
END { print "};" }
