# bash completion for sallyport(1)
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
	--key | --officer | --policy | --text-file | --vkey | --since | --out) COMPREPLY=($(compgen -f -- "$cur")); return ;;
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
	model) verbs="inspect logits generate tokenize import --tokens --path --kernel --n --greedy --seed --temperature --text-file --special --bos --sha256 --to" ;;
	esac
	COMPREPLY=($(compgen -W "$verbs" -- "$cur") $(compgen -f -- "$cur"))
}
complete -F _sallyport sallyport
