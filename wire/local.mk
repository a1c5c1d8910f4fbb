# wire/
