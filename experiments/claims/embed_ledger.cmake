# Writes OUT, which defines built_in_ledger() with every JSON file of FOLDER.
file(GLOB files ${FOLDER}/*.json)
set(text "#include \"experiments/claims/claim.hpp\"\n\nscalevec::experiments::LedgerFiles scalevec::experiments::built_in_ledger() {\n  return {\n")
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  file(READ ${file} content)
  string(APPEND text "      {\"${name}\", R\"ledger(${content})ledger\"},\n")
endforeach()
file(WRITE ${OUT} "${text}  };\n}\n")
