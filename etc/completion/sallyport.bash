# bash completion for sallyport(1)
# the verb of `model` that stands on the line, and what it takes
_sallyport_model() {
	local i verb= takes=
	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == model ]] && verb=${COMP_WORDS[i + 1]} && ((i + 1 < COMP_CWORD)) && break
		verb=
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--shape) COMPREPLY=($(compgen -W "nano 1b 3b 8b 70b 405b" -- "$cur")); return ;;
	--type) COMPREPLY=($(compgen -W "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q4_K_M Q5_K Q5_K_M Q6_K IQ4_NL IQ4_XS BF16 F16 F32" -- "$cur")); return ;;
	--kernel) COMPREPLY=($(compgen -W "portable avx2 avx2vnni avx512 avx512bf16 amx" -- "$cur")); return ;;
	--kv) COMPREPLY=($(compgen -W "auto f16 bf16 q8_0 f32" -- "$cur")); return ;;
	--path) COMPREPLY=($(compgen -W "batch step" -- "$cur")); return ;;
	esac
	case $verb in
	'') takes="inspect plan bench generate perplexity quantize synth logits tokenize import" ;;
	logits) takes="--tokens --path --kernel" ;;
	generate) takes="--prompt --tokens --n --chat --system --schema --draft --greedy --seed --temperature --top-p --top-k --min-p --kernel --threads --kv --special" ;;
	tokenize) takes="--text-file --special --bos" ;;
	import) takes="--sha256 --to" ;;
	synth) takes="--shape --type --seed --headers" ;;
	bench) takes="-p -n -d -b -t -r --kernel --kv --deterministic --fast-f16 --fork" ;;
	plan) takes="--kernel --threads --seconds" ;;
	perplexity) takes="--text-file --ctx --stride --kernel --threads --kv" ;;
	quantize) takes="--type --force --requantize --threads" ;;
	esac
	COMPREPLY=($(compgen -W "$takes --help" -- "$cur") $(compgen -f -- "$cur"))
}
_sallyport() {
	local cur=${COMP_WORDS[COMP_CWORD]} i noun=
	local nouns="init officer subject case queue key quota lockdown status request receipt audit model help"
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-o | --realm | --socket) ((i++)) ;;
		-*) ;;
		*) noun=${COMP_WORDS[i]}; break ;;
		esac
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-o) COMPREPLY=($(compgen -W "table json jsonl csv" -- "$cur")); return ;;
	--realm | --to) COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--schema | --key | --officer | --policy | --text-file | --vkey | --since | --out) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	esac
	local verbs=
	case $noun in
	'') verbs="$nouns --realm --socket -o --help --dry-run --yes" ;;
	officer) verbs="keygen confirm ls --key --name --out" ;;
	subject) verbs="new ls show suspend --name --org --tier --key --reason" ;;
	case) verbs="ls show propose sign refuse withdraw --key --reason --dry-run" ;;
	key) verbs="ls revoke --key --reason" ;;
	quota) verbs="show explain" ;;
	lockdown) verbs="all subject org model lift --key --reason" ;;
	request) verbs="show" ;;
	receipt) verbs="show check --vkey --entry" ;;
	audit) verbs="verify tail --since --vkey --decisions -n" ;;
	model) _sallyport_model; return ;;
	esac
	COMPREPLY=($(compgen -W "$verbs" -- "$cur") $(compgen -f -- "$cur"))
}
complete -F _sallyport sallyport
