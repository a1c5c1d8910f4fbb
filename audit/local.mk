# audit/
